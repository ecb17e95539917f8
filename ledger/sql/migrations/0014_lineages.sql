-- A run that goes on from an earlier step is a new thread. Its journal begins with copies of the steps before, which are
-- served and never paid for again; the thread it was taken from stays as it is, and nobody works on it any more.

ALTER TABLE syndic.threads ADD origin text;
COMMENT ON COLUMN syndic.threads.origin IS 'thread#step that it went on from; NULL where it began with its own first step.';
ALTER TABLE syndic.steps ADD origin text;
COMMENT ON COLUMN syndic.steps.origin IS 'The thread in which it was done, and where its cost stands; NULL where that is this one.';

CREATE OR REPLACE FUNCTION syndic.step_json(s syndic.steps, p_full boolean) RETURNS jsonb LANGUAGE sql STABLE AS $$
    -- Amounts travel as text so that no float comes between; the result as text because jsonb cannot hold every string.
    SELECT jsonb_build_object(
        'thread', s.thread, 'ordinal', s.ordinal, 'sub', s.sub, 'kind', s.kind, 'name', s.name,
        'request_digest', s.request_digest, 'status', s.status, 'model', s.model, 'usage', s.usage,
        'cost_usd', trim_scale(s.cost_usd)::text, 'commit', s.commit, 'worker', s.worker, 'epoch', s.epoch,
        'attempt', s.attempt, 'started_at', s.started_at, 'finished_at', s.finished_at, 'origin', s.origin,
        'result', CASE WHEN p_full THEN s.result::text END)
$$;

CREATE FUNCTION syndic.place_in(p_thread text, p_mark text, p_place text) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    -- The ordinal in `<thread><mark><ordinal>...`, NULL where it is about another thread.
    SELECT CASE WHEN starts_with(p_place, p_thread || p_mark)
                THEN substring(substr(p_place, length(p_thread || p_mark) + 1) FROM '^\d+')::integer END
$$;
COMMENT ON FUNCTION syndic.place_in IS 'Internal: which step of a thread a place names.';

CREATE FUNCTION syndic.tell_again(p_source syndic.threads, p_target text, p_step integer, p_now timestamptz) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    -- Answers to questions that are not asked any more stay unheard.
    heard jsonb := (SELECT jsonb_agg(jsonb_build_object(
            'id', format('%s/again/%s', m.id, p_target), 'project', m.project, 'source', m.source, 'target', m.target,
            'type', m.type, 'payload', m.payload::text, 'correlation', m.correlation, 'schema_version', m.schema_version)
            ORDER BY m.position)
          FROM syndic.messages AS m
         WHERE m.project = p_source.project AND m.target = p_source.agent
           AND syndic.place_in(p_source.thread, '#', m.read_by_step) >= p_step
           AND NOT coalesce(m.type = 'RESPONSE' AND syndic.place_in(p_source.thread, '/', m.correlation) >= p_step, false));
BEGIN
    IF heard IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM syndic.put_messages(heard, p_now);
    RETURN jsonb_array_length(heard);
END $$;
COMMENT ON FUNCTION syndic.tell_again IS 'Internal: what steps read that are done again is unread for the new thread.';

CREATE FUNCTION syndic.fork(p_source text, p_target text, p_step integer, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
DECLARE
    t threads;
    known threads;
    mark text := format('%s#%s', p_source, p_step);
    doubted integer;
    told integer;
BEGIN
    PERFORM FROM threads WHERE thread IN (p_source, p_target) ORDER BY thread FOR NO KEY UPDATE;
    SELECT * INTO t FROM threads WHERE thread = p_source;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('refusal', format('there is no run %s', p_source));
    END IF;
    SELECT * INTO known FROM threads WHERE thread = p_target;
    IF FOUND AND known.origin IS DISTINCT FROM mark THEN
        RETURN jsonb_build_object('refusal', format('the run %s exists already', p_target));
    ELSIF known.thread IS NULL THEN
        IF p_step < 1 OR (SELECT count(DISTINCT ordinal) FROM steps AS s
                           WHERE s.thread = p_source AND ordinal < p_step AND has_result(s)) < p_step THEN
            RETURN jsonb_build_object('refusal', format('the run %s has no step %s to go on from', p_source, p_step));
        END IF;
        doubted := doubt(ARRAY[p_source]);
        -- Whoever works on it still finds its lease gone.
        UPDATE threads SET epoch = epoch + 1, holder = NULL, expires_at = NULL WHERE thread = p_source;
        INSERT INTO threads (thread, project, sprint, task, role, agent, budget_scope, budget_path, prompt_version, epoch, origin)
        VALUES (p_target, t.project, t.sprint, t.task, t.role, t.agent, t.budget_scope, t.budget_path, t.prompt_version, 0, mark);
        INSERT INTO steps (thread, ordinal, sub, kind, name, request_digest, status, result, model, commit, worker, epoch,
                           started_at, finished_at, origin)
        SELECT p_target, s.ordinal, s.sub, s.kind, s.name, s.request_digest, s.status, s.result, s.model, s.commit, s.worker, 0,
               s.started_at, s.finished_at, coalesce(s.origin, s.thread)
          FROM steps AS s WHERE s.thread = p_source AND s.ordinal < p_step AND has_result(s);
        told := tell_again(t, p_target, p_step, p_now);
    END IF;
    RETURN jsonb_build_object(
        'in_doubt', coalesce(doubted, 0), 'told_again', coalesce(told, 0),
        'commit', (SELECT s.commit FROM steps AS s WHERE s.thread = p_target AND s.commit IS NOT NULL AND s.origin IS NOT NULL
                    ORDER BY s.ordinal DESC, s.sub DESC LIMIT 1));
END $$;
COMMENT ON FUNCTION syndic.fork IS
    'A new thread that begins with the steps of another one before p_step; the other one ends. The same call again changes nothing.';

CREATE FUNCTION syndic.retire(p_project text, p_sprint integer, p_task text) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
DECLARE
    ended text[];
BEGIN
    PERFORM FROM threads WHERE project = p_project AND sprint = p_sprint AND task = p_task ORDER BY thread FOR NO KEY UPDATE;
    ended := ARRAY(SELECT thread FROM threads WHERE project = p_project AND sprint = p_sprint AND task = p_task);
    UPDATE threads SET epoch = epoch + 1, holder = NULL, expires_at = NULL WHERE thread = ANY (ended) AND holder IS NOT NULL;
    RETURN doubt(ended);
END $$;
COMMENT ON FUNCTION syndic.retire IS 'A task has been given up: no run of it holds anything; returns how many calls are in doubt.';

REVOKE ALL ON FUNCTION syndic.place_in, syndic.tell_again, syndic.fork, syndic.retire FROM PUBLIC;
GRANT EXECUTE ON FUNCTION syndic.fork, syndic.retire TO syndic_worker;
