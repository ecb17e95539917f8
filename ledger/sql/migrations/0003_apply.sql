-- Group commit: what the runs of one worker have waiting, applied in one call and one transaction.

CREATE FUNCTION syndic.step_json(s syndic.steps, p_full boolean) RETURNS jsonb LANGUAGE sql STABLE AS $$
    -- Amounts travel as text so that no float comes between; the result as text because jsonb cannot hold every string.
    SELECT jsonb_build_object(
        'thread', s.thread, 'ordinal', s.ordinal, 'sub', s.sub, 'kind', s.kind, 'name', s.name,
        'request_digest', s.request_digest, 'status', s.status, 'model', s.model, 'usage', s.usage,
        'cost_usd', trim_scale(s.cost_usd)::text, 'commit', s.commit, 'worker', s.worker, 'epoch', s.epoch,
        'attempt', s.attempt, 'started_at', s.started_at, 'finished_at', s.finished_at,
        'result', CASE WHEN p_full THEN s.result::text END)
$$;

CREATE FUNCTION syndic.answer(p_status text, p_detail text DEFAULT NULL) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('status', p_status, 'detail', p_detail)
$$;

CREATE FUNCTION syndic.answer_with(p_status text, s syndic.steps, p_full boolean DEFAULT false) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    -- Who wrote the step with this very item knows its result.
    SELECT jsonb_build_object('status', p_status, 'step', syndic.step_json(s, p_full OR p_status <> 'ok'))
$$;

CREATE FUNCTION syndic.has_result(s syndic.steps) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(s.status = 'done' OR s.status = 'failed' AND s.kind <> 'model', false)
$$;

CREATE FUNCTION syndic.halted_by(t syndic.threads) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    sprint text := t.project || '/s' || t.sprint;
BEGIN
    RETURN (SELECT format('%s is %s: %s', subject, standing, reason)
              FROM syndic.standings
             WHERE subject IN (t.project, sprint, sprint || '/' || t.task, t.agent) AND standing <> 'active'
             ORDER BY length(subject), subject LIMIT 1);
END $$;

CREATE FUNCTION syndic.refused_by_budget(t syndic.threads, p_bound numeric) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
    node syndic.budgets;
    nodes integer := 0;
    over jsonb;
BEGIN
    FOR node IN SELECT * FROM syndic.budgets WHERE scope = ANY (t.budget_path) ORDER BY depth LOOP
        nodes := nodes + 1;
        IF node.violated THEN
            RETURN syndic.answer('blocked', format('budget %s: a bill exceeded its reservation; raise it to go on', node.scope));
        END IF;
        IF over IS NULL AND node.reserved_usd + node.spent_usd + p_bound > node.limit_usd THEN
            over := syndic.answer('over_budget', format(
                'budget %s: limit %s USD, spent %s, reserved %s, asked for %s', node.scope, trim_scale(node.limit_usd),
                trim_scale(node.spent_usd), trim_scale(node.reserved_usd), trim_scale(p_bound)));
        END IF;
    END LOOP;
    IF nodes < cardinality(t.budget_path) THEN
        RETURN syndic.answer('invalid', format('there is no budget of scope %s', t.budget_scope));
    END IF;
    RETURN over;
END $$;

CREATE FUNCTION syndic.apply_intent(i jsonb, p_now timestamptz) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    t syndic.threads;
    s syndic.steps;
    refusal jsonb;
    halt text;
    bound numeric(18, 9) := (i ->> 'bound_usd')::numeric;
BEGIN
    SELECT * INTO t FROM syndic.threads WHERE thread = i ->> 'thread';
    IF NOT FOUND THEN
        RETURN syndic.answer('invalid', format('there is no thread %s', i ->> 'thread'));
    ELSIF t.epoch <> (i ->> 'epoch')::bigint THEN
        RETURN syndic.answer('lost_lease', format('thread %s is at epoch %s', t.thread, t.epoch));
    END IF;
    SELECT * INTO s FROM syndic.steps
     WHERE thread = t.thread AND ordinal = (i ->> 'ordinal')::integer AND sub = (i ->> 'sub')::integer;
    IF FOUND THEN
        IF s.kind <> 'model' OR s.request_digest <> i ->> 'request_digest' THEN
            RETURN syndic.answer('diverged', format('step %s.%s was %s %s', s.ordinal, s.sub, s.kind, s.request_digest));
        ELSIF syndic.has_result(s) THEN
            RETURN syndic.answer_with('served', s);
        ELSIF s.status = 'reserved' THEN
            IF EXISTS (SELECT FROM syndic.attempts AS a WHERE (a.thread, a.ordinal, a.sub, a.attempt) =
                       (s.thread, s.ordinal, s.sub, s.attempt) AND a.bound_usd = bound AND a.name = i ->> 'name') THEN
                RETURN syndic.answer_with('ok', s);
            END IF;
            UPDATE syndic.attempts AS a SET state = 'in_doubt'
             WHERE (a.thread, a.ordinal, a.sub, a.attempt) = (s.thread, s.ordinal, s.sub, s.attempt);
        END IF;
    END IF;
    halt := syndic.halted_by(t);
    IF halt IS NOT NULL THEN
        RETURN syndic.answer('halted', halt);
    END IF;
    refusal := syndic.refused_by_budget(t, bound);
    IF refusal IS NOT NULL THEN
        RETURN refusal;
    END IF;
    UPDATE syndic.budgets SET reserved_usd = reserved_usd + bound WHERE scope = ANY (t.budget_path);
    INSERT INTO syndic.steps (thread, ordinal, sub, kind, name, request_digest, status, worker, epoch, started_at)
    VALUES (t.thread, (i ->> 'ordinal')::integer, (i ->> 'sub')::integer, 'model', i ->> 'name', i ->> 'request_digest',
            'reserved', i ->> 'worker', t.epoch, p_now)
    ON CONFLICT (thread, ordinal, sub) DO UPDATE
       SET status = 'reserved', name = excluded.name, worker = excluded.worker, epoch = excluded.epoch,
           attempt = steps.attempt + 1, started_at = excluded.started_at, finished_at = NULL, result = NULL,
           model = NULL, usage = NULL, cost_usd = 0, commit = NULL
    RETURNING * INTO s;
    INSERT INTO syndic.attempts (thread, ordinal, sub, attempt, epoch, name, request_digest, bound_usd, state, worker, asked_at)
    VALUES (s.thread, s.ordinal, s.sub, s.attempt, s.epoch, s.name, s.request_digest, bound, 'reserved', s.worker, p_now);
    RETURN syndic.answer_with('ok', s);
END $$;

CREATE FUNCTION syndic.attach(i jsonb, p_now timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF i ? 'entries' THEN
        PERFORM syndic.append_all(i -> 'entries');
    END IF;
    IF i ? 'outbox' THEN
        PERFORM syndic.put_messages(i -> 'outbox', p_now);
    END IF;
    IF i ? 'acknowledged' THEN
        UPDATE syndic.messages
           SET read_by_step = format('%s#%s.%s', i ->> 'thread', i ->> 'ordinal', i ->> 'sub')
         WHERE id IN (SELECT jsonb_array_elements_text(i -> 'acknowledged')) AND read_by_step IS NULL;
    END IF;
END $$;
COMMENT ON FUNCTION syndic.attach IS 'Internal: entries, outbox and acknowledgements that belong to a step that was written.';

CREATE FUNCTION syndic.apply_plain_receipt(i jsonb, t syndic.threads, s syndic.steps, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    halt text;
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
    INSERT INTO syndic.steps (thread, ordinal, sub, kind, name, request_digest, status, result, model, usage, cost_usd,
                              commit, worker, epoch, started_at, finished_at)
    VALUES (t.thread, (i ->> 'ordinal')::integer, (i ->> 'sub')::integer, i ->> 'kind', i ->> 'name', i ->> 'request_digest',
            i ->> 'status', (i ->> 'result')::json, i ->> 'model', nullif(i -> 'usage', 'null'),
            (i ->> 'cost_usd')::numeric, i ->> 'commit', i ->> 'worker', t.epoch, p_now, p_now)
    RETURNING * INTO s;
    PERFORM syndic.attach(i, p_now);
    RETURN syndic.answer_with('ok', s);
END $$;

CREATE FUNCTION syndic.settle(i jsonb, t syndic.threads, a syndic.attempts, p_now timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    cost numeric(18, 9) := (i ->> 'cost_usd')::numeric;
BEGIN
    UPDATE syndic.attempts
       SET state = i ->> 'status', cost_usd = cost, model = i ->> 'model', usage = nullif(i -> 'usage', 'null'), settled_at = p_now
     WHERE thread = a.thread AND ordinal = a.ordinal AND sub = a.sub AND attempt = a.attempt;
    UPDATE syndic.budgets
       SET reserved_usd = reserved_usd - a.bound_usd, spent_usd = spent_usd + cost,
           violated = violated OR (cost > a.bound_usd AND scope = t.budget_scope)
     WHERE scope = ANY (t.budget_path);
    IF cost > a.bound_usd THEN
        PERFORM syndic.append_own(
            t.project, format('budget_violated:%s:%s.%s:%s', a.thread, a.ordinal, a.sub, a.attempt), 'budget_violated', p_now,
            format('{"bound_usd":"%s","cost_usd":"%s","ordinal":%s,"scope":%s,"thread":%s}',
                   trim_scale(a.bound_usd), trim_scale(cost), a.ordinal, to_json(t.budget_scope), to_json(a.thread)));
    END IF;
END $$;
COMMENT ON FUNCTION syndic.settle IS 'Internal: true cost in place of the bound; a bill above the bound is a violation on the record.';

CREATE FUNCTION syndic.note_surplus(i jsonb, t syndic.threads, a syndic.attempts, p_used boolean, p_now timestamptz)
RETURNS void LANGUAGE sql AS $$
    SELECT syndic.append_own(
        t.project, format('late_answer:%s:%s.%s:%s', a.thread, a.ordinal, a.sub, a.attempt), 'late_answer', p_now,
        format('{"cost_usd":"%s","ordinal":%s,"sub":%s,"thread":%s,"used":%s}',
               trim_scale((i ->> 'cost_usd')::numeric(18, 9)), a.ordinal, a.sub, to_json(a.thread), to_json(p_used)))
$$;

CREATE FUNCTION syndic.apply_model_receipt(i jsonb, t syndic.threads, s syndic.steps, p_now timestamptz) RETURNS jsonb
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
    END IF;
    RETURN syndic.answer_with(CASE WHEN late THEN 'late' WHEN answered THEN 'served' ELSE 'ok' END, s, NOT written);
END $$;

CREATE FUNCTION syndic.apply_receipt(i jsonb, p_now timestamptz) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    t syndic.threads;
    s syndic.steps;
BEGIN
    SELECT * INTO t FROM syndic.threads WHERE thread = i ->> 'thread';
    IF NOT FOUND THEN
        RETURN syndic.answer('invalid', format('there is no thread %s', i ->> 'thread'));
    END IF;
    SELECT * INTO s FROM syndic.steps
     WHERE thread = t.thread AND ordinal = (i ->> 'ordinal')::integer AND sub = (i ->> 'sub')::integer;
    IF i ->> 'kind' = 'model' THEN
        RETURN syndic.apply_model_receipt(i, t, s, p_now);
    END IF;
    RETURN syndic.apply_plain_receipt(i, t, s, p_now);
END $$;

CREATE FUNCTION syndic.lock_for(p_items jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    models text[] := ARRAY(SELECT DISTINCT i ->> 'thread' FROM jsonb_array_elements(p_items) AS i
                            WHERE i ->> 'item' = 'intent' OR i ->> 'kind' = 'model');
BEGIN
    PERFORM FROM syndic.threads
      WHERE thread IN (SELECT i ->> 'thread' FROM jsonb_array_elements(p_items) AS i)
      ORDER BY thread FOR NO KEY UPDATE;
    PERFORM FROM syndic.budgets
      WHERE scope IN (SELECT unnest(budget_path) FROM syndic.threads WHERE thread = ANY (models))
      ORDER BY depth, scope FOR NO KEY UPDATE;
    PERFORM syndic.lock_chains(ARRAY(
        SELECT e ->> 'project' FROM jsonb_array_elements(p_items) AS i, jsonb_array_elements(i -> 'entries') AS e
        UNION
        SELECT project FROM syndic.threads WHERE thread = ANY (models)));
END $$;
COMMENT ON FUNCTION syndic.lock_for IS 'Internal: threads, then budgets root first, then chains, each in one order for all: no deadlock.';

CREATE FUNCTION syndic.apply(p_items jsonb, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
DECLARE
    i jsonb;
    one jsonb;
    answers jsonb[] := '{}';
    reason text;
BEGIN
    PERFORM syndic.lock_for(p_items);
    FOR i IN SELECT jsonb_array_elements(p_items) LOOP
        -- Only faults of the item itself end in an answer. A full disk must not turn a paid answer into "invalid".
        BEGIN
            IF i ->> 'item' = 'intent' THEN
                one := syndic.apply_intent(i, p_now);
            ELSE
                one := syndic.apply_receipt(i, p_now);
            END IF;
        EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR SQLSTATE 'SY001' THEN
            GET STACKED DIAGNOSTICS reason = MESSAGE_TEXT;
            one := syndic.answer('invalid', reason);
        END;
        answers := answers || one;
    END LOOP;
    RETURN to_jsonb(answers);
END $$;
COMMENT ON FUNCTION syndic.apply IS 'Group commit: items in order, an answer for each; one item''s refusal never rolls back its neighbour.';
