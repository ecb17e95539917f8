-- A run begins and ends within the group commit: what it takes and reads at its start is one item, what it leaves at its end
-- another. Items of one run may be chained, and a call to a model is not made while a message waits that the run has not heard.

CREATE OR REPLACE FUNCTION syndic.acquire_lease(p_info jsonb, p_holder text, p_now timestamptz, p_ttl interval)
RETURNS TABLE (epoch bigint, holder text, seconds_left double precision)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = syndic, pg_temp SET enable_seqscan = off AS $$
DECLARE
    t syndic.threads;
BEGIN
    INSERT INTO syndic.threads AS n (thread, project, sprint, task, role, agent, budget_scope, budget_path, prompt_version, epoch)
    VALUES (p_info ->> 'thread', p_info ->> 'project', (p_info ->> 'sprint')::integer, p_info ->> 'task', p_info ->> 'role',
            p_info ->> 'agent', p_info ->> 'budget_scope', syndic.budget_path(p_info ->> 'budget_scope'),
            p_info ->> 'prompt_version', 0)
    ON CONFLICT (thread) DO NOTHING;
    SELECT * INTO t FROM syndic.threads AS n WHERE n.thread = p_info ->> 'thread' FOR NO KEY UPDATE;
    IF t.holder <> p_holder AND t.expires_at > p_now THEN
        RETURN QUERY SELECT t.epoch, t.holder, extract(epoch FROM t.expires_at - p_now)::double precision;
        RETURN;
    END IF;
    -- Nobody has asked anything for a thread that was never held.
    IF t.epoch > 0 THEN
        PERFORM syndic.doubt(ARRAY[t.thread]);
    END IF;
    RETURN QUERY UPDATE syndic.threads AS n
        SET epoch = n.epoch + 1, holder = p_holder, expires_at = p_now + p_ttl
      WHERE n.thread = t.thread
  RETURNING n.epoch, n.holder, NULL::double precision;
END $$;

CREATE FUNCTION syndic.message_json(m syndic.messages) RETURNS jsonb LANGUAGE sql STABLE AS $$
    -- The payload as text, because jsonb cannot hold every string.
    SELECT jsonb_build_object(
        'position', m.position, 'id', m.id, 'project', m.project, 'source', m.source, 'target', m.target, 'type', m.type,
        'payload', m.payload::text, 'correlation', m.correlation, 'schema_version', m.schema_version, 'at', m.at,
        'read_by_step', m.read_by_step, 'generation', m.generation, 'number', m.number, 'delivered_at', m.delivered_at,
        'buried_at', m.buried_at)
$$;

CREATE FUNCTION syndic.apply_start(i jsonb, p_now timestamptz) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    info jsonb := i -> 'info';
    taken record;
BEGIN
    SELECT * INTO taken
      FROM syndic.acquire_lease(info, i ->> 'holder', p_now, make_interval(secs => (i ->> 'ttl_s')::double precision));
    IF taken.seconds_left IS NOT NULL THEN
        RETURN jsonb_build_object('status', 'held', 'detail', taken.holder, 'seconds_left', taken.seconds_left);
    END IF;
    RETURN jsonb_build_object('status', 'ok', 'epoch', taken.epoch,
        'steps', (SELECT jsonb_agg(syndic.step_json(s, true) ORDER BY s.ordinal, s.sub)
                    FROM syndic.steps AS s WHERE s.thread = info ->> 'thread'),
        'unread', (SELECT jsonb_agg(syndic.message_json(m) ORDER BY m.position)
                     FROM syndic.messages AS m
                    WHERE m.project = info ->> 'project' AND m.target = info ->> 'agent'
                      AND m.read_by_step IS NULL AND m.buried_at IS NULL),
        'memories', (SELECT jsonb_agg(jsonb_build_object('name', k.name, 'text', k.text, 'expires_at', k.expires_at)
                                      ORDER BY k.name COLLATE "C")
                       FROM syndic.memories AS k
                      WHERE k.project = info ->> 'project' AND k.agent = info ->> 'agent' AND k.expires_at > p_now));
END $$;
COMMENT ON FUNCTION syndic.apply_start IS 'Internal: take a thread and read what its run needs to begin.';

CREATE FUNCTION syndic.apply_mark(i jsonb, p_now timestamptz) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    t syndic.threads;
BEGIN
    SELECT * INTO t FROM syndic.threads WHERE thread = i ->> 'thread';
    IF NOT FOUND THEN
        RETURN syndic.answer('invalid', format('there is no thread %s', i ->> 'thread'));
    ELSIF t.epoch <> (i ->> 'epoch')::bigint THEN
        RETURN syndic.answer('lost_lease', format('thread %s is at epoch %s', t.thread, t.epoch));
    END IF;
    IF i ? 'artifact' THEN
        PERFORM syndic.put_artifact(convert_to(i ->> 'artifact', 'UTF8'), 'application/json');
    END IF;
    IF i ? 'card' THEN
        PERFORM syndic.publish_card(t.project, i -> 'card', p_now);
    END IF;
    IF i ? 'entries' THEN
        PERFORM syndic.append_all(i -> 'entries');
    END IF;
    IF NOT i ? 'releases' THEN
        RETURN '{"status": "ok"}';
    END IF;
    UPDATE syndic.threads SET holder = NULL, expires_at = NULL WHERE thread = t.thread AND holder = i ->> 'releases';
    RETURN jsonb_build_object('status', 'ok', 'budgets', (
        SELECT jsonb_agg(jsonb_build_object(
                   'scope', b.scope, 'limit_usd', trim_scale(b.limit_usd)::text,
                   'reserved_usd', trim_scale(b.reserved_usd)::text, 'spent_usd', trim_scale(b.spent_usd)::text,
                   'violated', b.violated, 'limit_tokens', b.limit_tokens, 'reserved_tokens', b.reserved_tokens,
                   'spent_tokens', b.spent_tokens) ORDER BY b.depth)
          FROM syndic.budgets AS b WHERE b.scope = ANY (t.budget_path)));
END $$;
COMMENT ON FUNCTION syndic.apply_mark IS 'Internal: what a run writes beside its steps, at its beginning and at its end.';

CREATE FUNCTION syndic.written(i jsonb, s syndic.steps) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF i ? 'brief' THEN
        RETURN '{"status": "ok"}';
    END IF;
    RETURN syndic.answer_with('ok', s);
END $$;
COMMENT ON FUNCTION syndic.written IS 'Internal: the answer to who wrote the step with this very item.';

CREATE OR REPLACE FUNCTION syndic.apply_intent(i jsonb, p_now timestamptz) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    t syndic.threads;
    s syndic.steps;
    before syndic.attempts;
    refusal jsonb;
    halt text;
    fresh boolean;
    bound numeric(18, 9) := (i ->> 'bound_usd')::numeric;
    tokens bigint := coalesce((i ->> 'bound_tokens')::bigint, 0);
BEGIN
    SELECT * INTO t FROM syndic.threads WHERE thread = i ->> 'thread';
    IF NOT FOUND THEN
        RETURN syndic.answer('invalid', format('there is no thread %s', i ->> 'thread'));
    ELSIF t.epoch <> (i ->> 'epoch')::bigint THEN
        RETURN syndic.answer('lost_lease', format('thread %s is at epoch %s', t.thread, t.epoch));
    END IF;
    SELECT * INTO s FROM syndic.steps
     WHERE thread = t.thread AND ordinal = (i ->> 'ordinal')::integer AND sub = (i ->> 'sub')::integer;
    fresh := NOT FOUND;
    IF NOT fresh THEN
        IF s.kind <> 'model' OR s.request_digest <> i ->> 'request_digest' THEN
            RETURN syndic.answer('diverged', format('step %s.%s was %s %s', s.ordinal, s.sub, s.kind, s.request_digest));
        ELSIF syndic.has_result(s) THEN
            RETURN syndic.answer_with('served', s);
        ELSIF s.status = 'reserved' THEN
            SELECT * INTO before FROM syndic.attempts AS a
             WHERE (a.thread, a.ordinal, a.sub, a.attempt) = (s.thread, s.ordinal, s.sub, s.attempt);
            IF (before.bound_usd, before.bound_tokens, before.name) = (bound, tokens, i ->> 'name') THEN
                RETURN syndic.written(i, s);
            ELSIF before.state = 'reserved' THEN
                UPDATE syndic.attempts AS a SET state = 'in_doubt'
                 WHERE (a.thread, a.ordinal, a.sub, a.attempt) = (s.thread, s.ordinal, s.sub, s.attempt);
                PERFORM syndic.charge_doubt(t.budget_path, before.bound_usd, before.bound_tokens);
            END IF;
        END IF;
    END IF;
    halt := syndic.halted_by(t);
    IF halt IS NOT NULL THEN
        RETURN syndic.answer('halted', halt);
    END IF;
    -- A call that was begun cannot be preceded by the step that reads the message.
    IF fresh AND i ? 'heard' AND EXISTS (
        SELECT FROM syndic.messages AS m
         WHERE m.project = t.project AND m.target = t.agent AND m.read_by_step IS NULL AND m.buried_at IS NULL
           AND NOT i -> 'heard' ? m.id) THEN
        RETURN '{"status": "mail"}';
    END IF;
    refusal := syndic.refused_by_budget(t, bound, tokens);
    IF refusal IS NOT NULL THEN
        RETURN refusal;
    END IF;
    UPDATE syndic.budgets SET reserved_usd = reserved_usd + bound, reserved_tokens = reserved_tokens + tokens
     WHERE scope = ANY (t.budget_path);
    INSERT INTO syndic.steps (thread, ordinal, sub, kind, name, request_digest, status, worker, epoch, started_at)
    VALUES (t.thread, (i ->> 'ordinal')::integer, (i ->> 'sub')::integer, 'model', i ->> 'name', i ->> 'request_digest',
            'reserved', i ->> 'worker', t.epoch, p_now)
    ON CONFLICT (thread, ordinal, sub) DO UPDATE
       SET status = 'reserved', name = excluded.name, worker = excluded.worker, epoch = excluded.epoch,
           attempt = steps.attempt + 1, started_at = excluded.started_at, finished_at = NULL, result = NULL,
           model = NULL, usage = NULL, cost_usd = 0, commit = NULL
    RETURNING * INTO s;
    INSERT INTO syndic.attempts (thread, ordinal, sub, attempt, epoch, name, request_digest, bound_usd, bound_tokens, state, worker,
                                 asked_at)
    VALUES (s.thread, s.ordinal, s.sub, s.attempt, s.epoch, s.name, s.request_digest, bound, tokens, 'reserved', s.worker, p_now);
    RETURN syndic.written(i, s);
END $$;

CREATE OR REPLACE FUNCTION syndic.apply_plain_receipt(i jsonb, t syndic.threads, s syndic.steps, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    halt text;
    refusal jsonb;
BEGIN
    IF t.epoch <> (i ->> 'epoch')::bigint THEN
        RETURN syndic.answer('lost_lease', format('thread %s is at epoch %s', t.thread, t.epoch));
    ELSIF s.kind IS NOT NULL THEN
        IF s.kind <> i ->> 'kind' OR s.request_digest <> i ->> 'request_digest' THEN
            RETURN syndic.answer('diverged', format('step %s.%s was %s %s', s.ordinal, s.sub, s.kind, s.request_digest));
        END IF;
        RETURN syndic.answer_with('served', s);
    ELSIF i ->> 'kind' = 'tool' THEN
        halt := syndic.halted_by(t);
        IF halt IS NOT NULL THEN
            RETURN syndic.answer('halted', halt);
        END IF;
    END IF;
    refusal := syndic.refusal_of_mail(i);
    IF refusal IS NOT NULL THEN
        RETURN refusal;
    END IF;
    INSERT INTO syndic.steps (thread, ordinal, sub, kind, name, request_digest, status, result, model, usage, cost_usd,
                              commit, worker, epoch, started_at, finished_at)
    VALUES (t.thread, (i ->> 'ordinal')::integer, (i ->> 'sub')::integer, i ->> 'kind', i ->> 'name', i ->> 'request_digest',
            i ->> 'status', (i ->> 'result')::json, i ->> 'model', nullif(i -> 'usage', 'null'),
            (i ->> 'cost_usd')::numeric, i ->> 'commit', i ->> 'worker', t.epoch, p_now, p_now)
    RETURNING * INTO s;
    PERFORM syndic.attach(i, p_now);
    RETURN syndic.written(i, s);
END $$;

CREATE OR REPLACE FUNCTION syndic.apply_model_receipt(i jsonb, t syndic.threads, s syndic.steps, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    a syndic.attempts;
    late boolean := t.epoch <> (i ->> 'epoch')::bigint;
    answered boolean := syndic.has_result(s);
    written boolean;
BEGIN
    SELECT * INTO a FROM syndic.attempts
     WHERE thread = t.thread AND ordinal = s.ordinal AND sub = s.sub AND epoch = (i ->> 'epoch')::bigint
       AND request_digest = i ->> 'request_digest'
     ORDER BY (state IN ('reserved', 'in_doubt')) DESC, (name = i ->> 'name') DESC, attempt DESC LIMIT 1;
    IF NOT FOUND THEN
        RETURN CASE
            WHEN late THEN syndic.answer('lost_lease', format('thread %s is at epoch %s', t.thread, t.epoch))
            WHEN s.kind <> 'model' OR s.request_digest <> i ->> 'request_digest'
                THEN syndic.answer('diverged', format('step %s.%s was %s %s', s.ordinal, s.sub, s.kind, s.request_digest))
            WHEN answered THEN syndic.answer_with('served', s)
            ELSE syndic.answer('invalid', 'no intent came before this receipt') END;
    ELSIF a.state IN ('done', 'failed') THEN
        RETURN CASE
            WHEN late THEN syndic.answer_with('late', s)
            WHEN answered THEN syndic.answer_with('served', s)
            WHEN a.state = i ->> 'status' THEN syndic.answer_with('ok', s, true)
            ELSE syndic.answer('invalid', format('attempt %s has %s already', a.attempt, a.state)) END;
    END IF;
    PERFORM syndic.settle(i, t, a, p_now);
    written := NOT answered AND (i ->> 'status' = 'done' OR s.attempt = a.attempt);
    IF late OR answered THEN
        PERFORM syndic.note_surplus(i, t, a, written AND i ->> 'status' = 'done', p_now);
    END IF;
    IF written THEN
        UPDATE syndic.steps
           SET status = i ->> 'status', name = i ->> 'name', result = (i ->> 'result')::json, model = i ->> 'model',
               usage = nullif(i -> 'usage', 'null'), cost_usd = (i ->> 'cost_usd')::numeric, commit = i ->> 'commit',
               worker = i ->> 'worker', epoch = a.epoch, attempt = a.attempt, finished_at = p_now
         WHERE thread = s.thread AND ordinal = s.ordinal AND sub = s.sub
        RETURNING * INTO s;
        PERFORM syndic.attach(i, p_now);
        IF NOT late THEN
            RETURN syndic.written(i, s);
        END IF;
    END IF;
    RETURN syndic.answer_with(CASE WHEN late THEN 'late' WHEN answered THEN 'served' ELSE 'ok' END, s, NOT written);
END $$;

CREATE OR REPLACE FUNCTION syndic.lock_for(p_items jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    models text[] := ARRAY(SELECT DISTINCT i ->> 'thread' FROM jsonb_array_elements(p_items) AS i
                            WHERE i ->> 'item' = 'intent' OR i ->> 'kind' = 'model');
    starts text[] := ARRAY(SELECT i -> 'info' ->> 'thread' FROM jsonb_array_elements(p_items) AS i WHERE i ->> 'item' = 'start');
BEGIN
    PERFORM FROM syndic.threads
      WHERE thread IN (SELECT i ->> 'thread' FROM jsonb_array_elements(p_items) AS i UNION ALL SELECT unnest(starts))
      ORDER BY thread FOR NO KEY UPDATE;
    IF cardinality(starts) > 0 THEN
        -- Whoever takes a thread over puts its open calls in doubt.
        models := models || ARRAY(SELECT DISTINCT thread FROM syndic.attempts WHERE thread = ANY (starts) AND state = 'reserved');
    END IF;
    PERFORM FROM syndic.budgets
      WHERE scope IN (SELECT unnest(budget_path) FROM syndic.threads WHERE thread = ANY (models))
      ORDER BY depth, scope FOR NO KEY UPDATE;
    PERFORM syndic.lock_chains(ARRAY(
        SELECT e ->> 'project' FROM jsonb_array_elements(p_items) AS i, jsonb_array_elements(i -> 'entries') AS e
        UNION
        SELECT project FROM syndic.threads WHERE thread = ANY (models)));
END $$;

CREATE FUNCTION syndic.apply_one(i jsonb, p_before jsonb, p_now timestamptz) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    IF i ? 'chained' AND coalesce(p_before ->> 'status', 'ok') NOT IN ('ok', 'served') THEN
        RETURN '{"status": "skipped"}';
    END IF;
    CASE i ->> 'item'
        WHEN 'intent' THEN RETURN syndic.apply_intent(i, p_now);
        WHEN 'receipt' THEN RETURN syndic.apply_receipt(i, p_now);
        WHEN 'start' THEN RETURN syndic.apply_start(i, p_now);
        ELSE RETURN syndic.apply_mark(i, p_now);
    END CASE;
END $$;
COMMENT ON FUNCTION syndic.apply_one IS 'Internal: one item; p_before is the answer to the item before it.';

CREATE OR REPLACE FUNCTION syndic.apply(p_items jsonb, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = syndic, pg_temp SET enable_seqscan = off AS $$
DECLARE
    i jsonb;
    one jsonb;
    answers jsonb[] := '{}';
    reason text;
BEGIN
    PERFORM syndic.lock_for(p_items);
    -- Only faults of an item itself end in an answer. A full disk must not turn a paid answer into "invalid".
    BEGIN
        FOR i IN SELECT jsonb_array_elements(p_items) LOOP
            one := syndic.apply_one(i, one, p_now);
            answers := answers || one;
        END LOOP;
        RETURN to_jsonb(answers);
    EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR SQLSTATE 'SY001' THEN
        answers := '{}';
        one := NULL;
    END;
    -- One of them is at fault: again, each by itself, so that it takes no neighbour with it.
    FOR i IN SELECT jsonb_array_elements(p_items) LOOP
        BEGIN
            one := syndic.apply_one(i, one, p_now);
        EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR SQLSTATE 'SY001' THEN
            GET STACKED DIAGNOSTICS reason = MESSAGE_TEXT;
            one := syndic.answer('invalid', reason);
        END;
        answers := answers || one;
    END LOOP;
    RETURN to_jsonb(answers);
END $$;
COMMENT ON FUNCTION syndic.apply IS 'Group commit: items in order, an answer for each; one item''s refusal never rolls back its neighbour.';

REVOKE ALL ON FUNCTION syndic.message_json, syndic.apply_start, syndic.apply_mark, syndic.written, syndic.apply_one FROM PUBLIC;
