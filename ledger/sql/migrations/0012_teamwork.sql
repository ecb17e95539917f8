-- What a team shares: a board with versions, votes and verdicts, cards of agents, working memory, results of agents.

CREATE TABLE syndic.board (
    project text NOT NULL,
    task text NOT NULL,
    section text NOT NULL CHECK (section IN ('problem', 'constraints', 'solutions', 'progress', 'consensus')),
    name text NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    text text NOT NULL,
    options text[] NOT NULL,
    author text NOT NULL,
    at timestamptz NOT NULL,
    written_by text NOT NULL,
    PRIMARY KEY (project, task, section, name, version)
);
COMMENT ON TABLE syndic.board IS 'Every version of every entry of a project''s board; what stands is in the view syndic.board_now.';
COMMENT ON COLUMN syndic.board.task IS 'Empty: of the whole project.';
COMMENT ON COLUMN syndic.board.written_by IS 'thread/ordinal/sub of the tool step: a step that is made again writes once.';
CREATE INDEX board_by_step ON syndic.board (written_by);

CREATE TABLE syndic.votes (
    project text NOT NULL,
    task text NOT NULL,
    question text NOT NULL,
    agent text NOT NULL,
    version integer NOT NULL,
    choice text NOT NULL,
    reasoning text NOT NULL,
    confidence integer NOT NULL CHECK (confidence BETWEEN 0 AND 100),
    changes integer NOT NULL DEFAULT 0,
    at timestamptz NOT NULL,
    cast_by text NOT NULL,
    PRIMARY KEY (project, task, question, agent)
);
COMMENT ON TABLE syndic.votes IS 'One vote an agent and question, on one version of it; votes on an earlier version do not count.';

CREATE TABLE syndic.verdicts (
    project text NOT NULL,
    task text NOT NULL,
    question text NOT NULL,
    version integer NOT NULL,
    choice text,
    how text NOT NULL,
    reasoning text NOT NULL,
    decided_by text NOT NULL,
    counts jsonb NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (project, task, question)
);
COMMENT ON TABLE syndic.verdicts IS 'How questions of the board were decided; choice is NULL where one lapsed.';

CREATE TABLE syndic.agents (
    project text NOT NULL,
    agent text NOT NULL CHECK (starts_with(agent, project || '.')),
    name text NOT NULL,
    role text NOT NULL,
    seat text,
    title text NOT NULL,
    capabilities text[] NOT NULL,
    tier integer NOT NULL,
    state text NOT NULL,
    task text NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (project, agent)
);
COMMENT ON TABLE syndic.agents IS 'Cards: what each agent is and can do, published when it begins to work and when it ends.';

CREATE TABLE syndic.memories (
    project text NOT NULL,
    agent text NOT NULL,
    name text NOT NULL,
    text text NOT NULL,
    expires_at timestamptz NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (project, agent, name)
);
COMMENT ON TABLE syndic.memories IS 'Working memory: what an agent wrote down for its next runs, until it expires.';

CREATE VIEW syndic.board_now AS
SELECT DISTINCT ON (project, task, section, name) project, task, section, name, version, text, options, author, at
  FROM syndic.board ORDER BY project, task, section, name, version DESC;
COMMENT ON VIEW syndic.board_now IS 'What stands on the boards.';

CREATE INDEX entries_task_finished ON syndic.entries (project) WHERE kind = 'task_finished';
CREATE VIEW syndic.results AS
SELECT e.project, b.body ->> 'agent' AS agent,
       count(*) FILTER (WHERE b.body ->> 'state' IN ('accepted', 'merged', 'nothing_to_do', 'reported'))::integer AS succeeded,
       count(*) FILTER (WHERE b.body ->> 'state' = 'failed')::integer AS failed
  FROM syndic.entries AS e, LATERAL (SELECT e.payload::json -> 'body' AS body) AS b
 WHERE e.kind = 'task_finished' AND b.body ->> 'agent' IS NOT NULL
 GROUP BY e.project, b.body ->> 'agent';
COMMENT ON VIEW syndic.results IS 'Tasks that agents ended well and badly, from the ledger.';

CREATE FUNCTION syndic.board_json(b syndic.board_now) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('project', b.project, 'task', b.task, 'section', b.section, 'name', b.name,
        'version', b.version, 'text', b.text, 'options', b.options, 'author', b.author, 'at', b.at)
$$;

-- One writer of a project's board at a time: compare and set needs no retries then, and no order of locks can go wrong.
CREATE FUNCTION syndic.lock_board(p_project text) RETURNS void LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(1398361669, hashtext(p_project))
$$;

CREATE FUNCTION syndic.refused_writer(t syndic.threads, p_thread text, p_epoch bigint) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
    halt text;
BEGIN
    IF t.thread IS NULL THEN
        RAISE EXCEPTION 'there is no thread %', p_thread USING ERRCODE = 'no_data_found';
    ELSIF t.epoch <> p_epoch THEN
        RETURN jsonb_build_object('status', 'lost_lease', 'detail', format('thread %s is at epoch %s', t.thread, t.epoch));
    END IF;
    halt := syndic.halted_by(t);
    RETURN CASE WHEN halt IS NOT NULL THEN jsonb_build_object('status', 'halted', 'detail', halt) END;
END $$;
COMMENT ON FUNCTION syndic.refused_writer IS 'Internal: why the run may not write; NULL where it may.';

CREATE FUNCTION syndic.post_board(p_place jsonb, p_posts jsonb, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
DECLARE
    t syndic.threads;
    refusal jsonb;
    closed text;
    moved boolean;
    standing jsonb;
BEGIN
    SELECT * INTO t FROM threads WHERE thread = p_place ->> 'thread' FOR SHARE;
    refusal := refused_writer(t, p_place ->> 'thread', (p_place ->> 'epoch')::bigint);
    IF refusal IS NOT NULL THEN
        RETURN refusal;
    END IF;
    PERFORM lock_board(t.project);
    IF EXISTS (SELECT FROM board WHERE written_by = p_place ->> 'key') THEN
        RETURN jsonb_build_object('status', 'ok', 'entries', (
            SELECT jsonb_agg(board_json((b.project, b.task, b.section, b.name, b.version, b.text, b.options, b.author, b.at)::board_now)
                             ORDER BY b.section COLLATE "C", b.task COLLATE "C", b.name COLLATE "C") FROM board AS b WHERE b.written_by = p_place ->> 'key'));
    END IF;
    SELECT p ->> 'name' INTO closed FROM jsonb_array_elements(p_posts) AS p JOIN verdicts AS v
        ON v.project = t.project AND v.task = p ->> 'task' AND v.question = p ->> 'name' AND p ->> 'section' = 'consensus'
     ORDER BY 1 LIMIT 1;
    IF closed IS NOT NULL THEN
        RETURN jsonb_build_object('status', 'closed', 'detail', format('the question %s is decided', closed));
    END IF;
    SELECT bool_or(coalesce(b.version, 0) <> (p ->> 'base')::integer),
           jsonb_agg(board_json((b.project, b.task, b.section, b.name, b.version, b.text, b.options, b.author, b.at)::board_now)
                     ORDER BY b.section COLLATE "C", b.task COLLATE "C", b.name COLLATE "C") FILTER (WHERE b.version IS NOT NULL)
      INTO moved, standing
      -- Through the primary key, one look for each post, however many versions the board has.
      FROM jsonb_array_elements(p_posts) AS p LEFT JOIN LATERAL (
           SELECT n.project, n.task, n.section, n.name, n.version, n.text, n.options, n.author, n.at FROM board AS n
            WHERE n.project = t.project AND n.task = p ->> 'task' AND n.section = p ->> 'section' AND n.name = p ->> 'name'
            ORDER BY n.version DESC LIMIT 1) AS b ON true;
    IF moved THEN
        RETURN jsonb_build_object('status', 'conflict', 'entries', coalesce(standing, '[]'));
    END IF;
    INSERT INTO board (project, task, section, name, version, text, options, author, at, written_by)
    SELECT t.project, p ->> 'task', p ->> 'section', p ->> 'name', (p ->> 'base')::integer + 1, p ->> 'text',
           ARRAY(SELECT jsonb_array_elements_text(p -> 'options')), t.agent, p_now, p_place ->> 'key'
      FROM jsonb_array_elements(p_posts) AS p;
    RETURN jsonb_build_object('status', 'ok', 'entries', (
        SELECT jsonb_agg(board_json((b.project, b.task, b.section, b.name, b.version, b.text, b.options, b.author, b.at)::board_now)
                         ORDER BY b.section COLLATE "C", b.task COLLATE "C", b.name COLLATE "C") FROM board AS b WHERE b.written_by = p_place ->> 'key'));
END $$;
COMMENT ON FUNCTION syndic.post_board IS 'Compare and set, all or nothing; the loser is told what stands. Project and author are the thread''s.';

CREATE FUNCTION syndic.cast_vote(p_place jsonb, p_vote jsonb, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
DECLARE
    t syndic.threads;
    q syndic.board_now;
    refusal jsonb;
BEGIN
    SELECT * INTO t FROM threads WHERE thread = p_place ->> 'thread' FOR SHARE;
    refusal := refused_writer(t, p_place ->> 'thread', (p_place ->> 'epoch')::bigint);
    IF refusal IS NOT NULL THEN
        RETURN refusal;
    END IF;
    PERFORM lock_board(t.project);
    SELECT * INTO q FROM board_now WHERE project = t.project AND task = p_vote ->> 'task' AND section = 'consensus'
       AND name = p_vote ->> 'question' AND cardinality(options) > 0;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('status', 'unknown', 'detail', format('there is no question %s', p_vote ->> 'question'));
    ELSIF EXISTS (SELECT FROM votes WHERE project = t.project AND cast_by = p_place ->> 'key'
                     AND task = q.task AND question = q.name AND agent = t.agent) THEN
        RETURN jsonb_build_object('status', 'ok', 'question', board_json(q));
    ELSIF EXISTS (SELECT FROM verdicts WHERE project = t.project AND task = q.task AND question = q.name) THEN
        RETURN jsonb_build_object('status', 'closed', 'question', board_json(q), 'detail', 'the question is decided');
    ELSIF q.version <> (p_vote ->> 'version')::integer THEN
        RETURN jsonb_build_object('status', 'conflict', 'question', board_json(q),
                                  'detail', format('the question is at version %s', q.version));
    ELSIF NOT p_vote ->> 'choice' = ANY (q.options) THEN
        RETURN jsonb_build_object('status', 'unknown', 'question', board_json(q),
                                  'detail', format('the options are %s', array_to_string(q.options, ', ')));
    END IF;
    INSERT INTO votes AS v (project, task, question, agent, version, choice, reasoning, confidence, at, cast_by)
    VALUES (t.project, q.task, q.name, t.agent, q.version, p_vote ->> 'choice', p_vote ->> 'reasoning',
            (p_vote ->> 'confidence')::integer, p_now, p_place ->> 'key')
    ON CONFLICT (project, task, question, agent) DO UPDATE
       SET version = excluded.version, choice = excluded.choice, reasoning = excluded.reasoning,
           confidence = excluded.confidence, changes = v.changes + 1, at = excluded.at, cast_by = excluded.cast_by;
    RETURN jsonb_build_object('status', 'ok', 'question', board_json(q));
END $$;
COMMENT ON FUNCTION syndic.cast_vote IS 'One vote an agent and question; may be changed until there is a verdict.';

CREATE FUNCTION syndic.close_question(p_project text, p_verdict jsonb, p_seen integer, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
DECLARE
    q syndic.board_now;
    seen integer;
BEGIN
    PERFORM lock_board(p_project);
    SELECT * INTO q FROM board_now WHERE project = p_project AND task = p_verdict ->> 'task' AND section = 'consensus'
       AND name = p_verdict ->> 'question' AND cardinality(options) > 0;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('status', 'unknown', 'detail', format('there is no question %s', p_verdict ->> 'question'));
    ELSIF EXISTS (SELECT FROM verdicts WHERE project = p_project AND task = q.task AND question = q.name) THEN
        RETURN jsonb_build_object('status', 'closed', 'entries', jsonb_build_array(board_json(q)));
    END IF;
    SELECT coalesce(sum(1 + changes), 0)::integer INTO seen FROM votes
     WHERE project = p_project AND task = q.task AND question = q.name AND version = q.version;
    IF q.version <> (p_verdict ->> 'version')::integer OR seen <> p_seen THEN
        RETURN jsonb_build_object('status', 'conflict', 'entries', jsonb_build_array(board_json(q)));
    END IF;
    INSERT INTO verdicts (project, task, question, version, choice, how, reasoning, decided_by, counts, at)
    VALUES (p_project, q.task, q.name, q.version, p_verdict ->> 'choice', p_verdict ->> 'how', p_verdict ->> 'reasoning',
            p_verdict ->> 'decided_by', p_verdict -> 'counts', p_now);
    RETURN jsonb_build_object('status', 'ok', 'entries', jsonb_build_array(board_json(q)));
END $$;
COMMENT ON FUNCTION syndic.close_question IS 'The verdict on a question, once, and only with all its votes counted.';

CREATE FUNCTION syndic.publish_card(p_project text, p_card jsonb, p_now timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
    INSERT INTO agents (project, agent, name, role, seat, title, capabilities, tier, state, task, at)
    VALUES (p_project, p_card ->> 'id', p_card ->> 'name', p_card ->> 'role', p_card ->> 'seat', p_card ->> 'title',
            ARRAY(SELECT jsonb_array_elements_text(p_card -> 'capabilities')), (p_card ->> 'tier')::integer,
            p_card ->> 'state', p_card ->> 'task', p_now)
    ON CONFLICT (project, agent) DO UPDATE
       SET name = excluded.name, role = excluded.role, seat = excluded.seat, title = excluded.title,
           capabilities = excluded.capabilities, tier = excluded.tier, state = excluded.state, task = excluded.task,
           at = excluded.at
$$;

CREATE FUNCTION syndic.remember(p_place jsonb, p_memories jsonb, p_most integer, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
DECLARE
    t syndic.threads;
    refusal jsonb;
BEGIN
    SELECT * INTO t FROM threads WHERE thread = p_place ->> 'thread' FOR SHARE;
    refusal := refused_writer(t, p_place ->> 'thread', (p_place ->> 'epoch')::bigint);
    IF refusal IS NOT NULL THEN
        RETURN refusal;
    END IF;
    PERFORM lock_board(t.project);
    INSERT INTO memories (project, agent, name, text, expires_at, at)
    SELECT t.project, t.agent, m ->> 'name', m ->> 'text', (m ->> 'expires_at')::timestamptz, p_now
      FROM jsonb_array_elements(p_memories) AS m
    ON CONFLICT (project, agent, name) DO UPDATE
       SET text = excluded.text, expires_at = excluded.expires_at, at = excluded.at;
    DELETE FROM memories AS m WHERE m.project = t.project AND m.agent = t.agent AND (m.expires_at <= p_now OR m.name IN (
        SELECT n.name FROM memories AS n WHERE n.project = t.project AND n.agent = t.agent AND n.expires_at > p_now
         ORDER BY n.at DESC, n.name OFFSET p_most));
    RETURN jsonb_build_object('status', 'ok');
END $$;
COMMENT ON FUNCTION syndic.remember IS 'Working memory of the thread''s agent; what has expired and the oldest beyond p_most are dropped.';

REVOKE ALL ON FUNCTION syndic.board_json, syndic.lock_board, syndic.refused_writer, syndic.post_board, syndic.cast_vote,
    syndic.close_question, syndic.publish_card, syndic.remember FROM PUBLIC;
GRANT EXECUTE ON FUNCTION syndic.board_json, syndic.post_board, syndic.cast_vote, syndic.close_question, syndic.publish_card,
    syndic.remember TO syndic_worker;
GRANT SELECT ON syndic.board, syndic.votes, syndic.verdicts, syndic.agents, syndic.memories, syndic.board_now, syndic.results
    TO syndic_worker;
