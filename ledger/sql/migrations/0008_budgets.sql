-- Doubt is charged as spent, so that a reservation is only what is in flight and spending agrees with syndic.usage; a notice
-- on the chain once a scope has spent 80 % of its limit; raising a budget lets everything below go on.

CREATE FUNCTION syndic.charge_doubt(p_path text[], p_bound numeric) RETURNS void LANGUAGE sql AS $$
    UPDATE syndic.budgets SET reserved_usd = reserved_usd - p_bound, spent_usd = spent_usd + p_bound WHERE scope = ANY (p_path)
$$;
COMMENT ON FUNCTION syndic.charge_doubt IS 'Internal: nobody knows whether it was billed, so it counts as spent until the truth is known.';

CREATE OR REPLACE FUNCTION syndic.doubt(p_threads text[]) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    asked record;
    found_open integer := 0;
BEGIN
    PERFORM FROM syndic.budgets
      WHERE scope IN (SELECT unnest(t.budget_path) FROM syndic.threads AS t JOIN syndic.attempts AS a USING (thread)
                       WHERE a.thread = ANY (p_threads) AND a.state = 'reserved')
      ORDER BY depth, scope FOR NO KEY UPDATE;
    FOR asked IN SELECT t.budget_path, sum(a.bound_usd) AS bound_usd, count(*)::integer AS number
                   FROM syndic.threads AS t JOIN syndic.attempts AS a USING (thread)
                  WHERE a.thread = ANY (p_threads) AND a.state = 'reserved' GROUP BY t.thread LOOP
        PERFORM syndic.charge_doubt(asked.budget_path, asked.bound_usd);
        found_open := found_open + asked.number;
    END LOOP;
    UPDATE syndic.attempts SET state = 'in_doubt' WHERE thread = ANY (p_threads) AND state = 'reserved';
    UPDATE syndic.steps SET status = 'in_doubt' WHERE thread = ANY (p_threads) AND status = 'reserved';
    RETURN found_open;
END $$;
COMMENT ON FUNCTION syndic.doubt IS 'Internal: asked and never answered; the bound is charged until the truth is known.';

CREATE OR REPLACE FUNCTION syndic.apply_intent(i jsonb, p_now timestamptz) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    t syndic.threads;
    s syndic.steps;
    before syndic.attempts;
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
            SELECT * INTO before FROM syndic.attempts AS a
             WHERE (a.thread, a.ordinal, a.sub, a.attempt) = (s.thread, s.ordinal, s.sub, s.attempt);
            IF before.bound_usd = bound AND before.name = i ->> 'name' THEN
                RETURN syndic.answer_with('ok', s);
            ELSIF before.state = 'reserved' THEN
                UPDATE syndic.attempts AS a SET state = 'in_doubt'
                 WHERE (a.thread, a.ordinal, a.sub, a.attempt) = (s.thread, s.ordinal, s.sub, s.attempt);
                PERFORM syndic.charge_doubt(t.budget_path, before.bound_usd);
            END IF;
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

CREATE FUNCTION syndic.note_soft_limit(t syndic.threads, p_now timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    node syndic.budgets;
    entry_key text;
BEGIN
    FOR node IN SELECT * FROM syndic.budgets
                 WHERE scope = ANY (t.budget_path) AND limit_usd > 0 AND spent_usd * 100 >= limit_usd * 80 ORDER BY depth LOOP
        entry_key := format('budget_low:%s:%s', node.scope, trim_scale(node.limit_usd));
        IF NOT EXISTS (SELECT FROM syndic.entries AS e WHERE e.project = t.project AND e.key = entry_key) THEN
            PERFORM syndic.append_own(
                t.project, entry_key, 'budget_low', p_now,
                format('{"limit_usd":"%s","percent":80,"scope":%s}', trim_scale(node.limit_usd), to_json(node.scope)));
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION syndic.note_soft_limit IS 'Internal: one entry for each scope and limit of which 80 % are spent.';

CREATE OR REPLACE FUNCTION syndic.settle(i jsonb, t syndic.threads, a syndic.attempts, p_now timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    cost numeric(18, 9) := (i ->> 'cost_usd')::numeric;
    charged numeric(18, 9) := CASE a.state WHEN 'in_doubt' THEN a.bound_usd ELSE 0 END;
BEGIN
    UPDATE syndic.attempts
       SET state = i ->> 'status', cost_usd = cost, model = i ->> 'model', usage = nullif(i -> 'usage', 'null'), settled_at = p_now
     WHERE thread = a.thread AND ordinal = a.ordinal AND sub = a.sub AND attempt = a.attempt;
    UPDATE syndic.budgets
       SET reserved_usd = reserved_usd - (a.bound_usd - charged), spent_usd = spent_usd - charged + cost,
           violated = violated OR (cost > a.bound_usd AND scope = t.budget_scope)
     WHERE scope = ANY (t.budget_path);
    IF cost > a.bound_usd THEN
        PERFORM syndic.append_own(
            t.project, format('budget_violated:%s:%s.%s:%s', a.thread, a.ordinal, a.sub, a.attempt), 'budget_violated', p_now,
            format('{"bound_usd":"%s","cost_usd":"%s","ordinal":%s,"scope":%s,"thread":%s}',
                   trim_scale(a.bound_usd), trim_scale(cost), a.ordinal, to_json(t.budget_scope), to_json(a.thread)));
    END IF;
    PERFORM syndic.note_soft_limit(t, p_now);
END $$;

CREATE OR REPLACE FUNCTION syndic.raise_budget(p_scope text, p_limit numeric) RETURNS SETOF syndic.budgets
LANGUAGE plpgsql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
BEGIN
    PERFORM FROM budgets WHERE scope = p_scope OR starts_with(scope, p_scope || '/') ORDER BY depth, scope FOR NO KEY UPDATE;
    UPDATE budgets SET violated = false WHERE violated AND starts_with(scope, p_scope || '/');
    RETURN QUERY UPDATE budgets SET limit_usd = p_limit, violated = false WHERE scope = p_scope RETURNING *;
END $$;
COMMENT ON FUNCTION syndic.raise_budget IS 'A person''s decision: a new limit, and what was blocked by a violation here or below may go on.';

UPDATE syndic.budgets AS b SET reserved_usd = reserved_usd - old.bound_usd, spent_usd = spent_usd + old.bound_usd
  FROM (SELECT scope, sum(a.bound_usd) AS bound_usd
          FROM syndic.attempts AS a JOIN syndic.threads AS t USING (thread), unnest(t.budget_path) AS scope
         WHERE a.state = 'in_doubt' GROUP BY scope) AS old
 WHERE b.scope = old.scope;

REVOKE ALL ON FUNCTION syndic.charge_doubt, syndic.note_soft_limit FROM PUBLIC;
COMMENT ON COLUMN syndic.budgets.reserved_usd IS 'Bounds of the calls in flight.';
COMMENT ON COLUMN syndic.budgets.spent_usd IS 'True costs, and the bounds of what is in doubt.';
