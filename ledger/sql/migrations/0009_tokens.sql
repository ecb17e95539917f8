-- Tokens beside dollars on the same tree: reserved, settled, doubted and limited in the same transactions. No limit of tokens
-- means that dollars alone limit; what was asked before this migration has a bound of no tokens, which nobody is blocked for.

ALTER TABLE syndic.budgets
    ADD limit_tokens bigint CHECK (limit_tokens >= 0),
    ADD reserved_tokens bigint NOT NULL DEFAULT 0 CHECK (reserved_tokens >= 0),
    ADD spent_tokens bigint NOT NULL DEFAULT 0 CHECK (spent_tokens >= 0);
COMMENT ON COLUMN syndic.budgets.limit_tokens IS 'NULL: tokens are counted and not limited here.';
COMMENT ON COLUMN syndic.budgets.reserved_tokens IS 'Bounds of the calls in flight: prompt and completion.';
COMMENT ON COLUMN syndic.budgets.spent_tokens IS 'Tokens as billed, reasoning included, and the bounds of what is in doubt.';
ALTER TABLE syndic.attempts ADD bound_tokens bigint NOT NULL DEFAULT 0 CHECK (bound_tokens >= 0);

CREATE FUNCTION syndic.billed_tokens(p_usage jsonb) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT greatest(coalesce((p_usage ->> 'prompt_tokens')::bigint, 0), 0)
         + greatest(coalesce((p_usage ->> 'completion_tokens')::bigint, 0), 0)
$$;
COMMENT ON FUNCTION syndic.billed_tokens IS 'Internal: reasoning tokens are among those of the completion, cached ones among those of the prompt.';

UPDATE syndic.budgets AS b SET spent_tokens = old.tokens
  FROM (SELECT scope, sum(syndic.billed_tokens(a.usage)) AS tokens
          FROM syndic.attempts AS a JOIN syndic.threads AS t USING (thread), unnest(t.budget_path) AS scope
         WHERE a.state IN ('done', 'failed') GROUP BY scope) AS old
 WHERE b.scope = old.scope;

DROP FUNCTION syndic.charge_doubt(text[], numeric);
CREATE FUNCTION syndic.charge_doubt(p_path text[], p_bound numeric, p_tokens bigint) RETURNS void LANGUAGE sql AS $$
    UPDATE syndic.budgets
       SET reserved_usd = reserved_usd - p_bound, spent_usd = spent_usd + p_bound,
           reserved_tokens = reserved_tokens - p_tokens, spent_tokens = spent_tokens + p_tokens
     WHERE scope = ANY (p_path)
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
    FOR asked IN SELECT t.budget_path, sum(a.bound_usd) AS bound_usd, sum(a.bound_tokens)::bigint AS bound_tokens,
                        count(*)::integer AS number
                   FROM syndic.threads AS t JOIN syndic.attempts AS a USING (thread)
                  WHERE a.thread = ANY (p_threads) AND a.state = 'reserved' GROUP BY t.thread LOOP
        PERFORM syndic.charge_doubt(asked.budget_path, asked.bound_usd, asked.bound_tokens);
        found_open := found_open + asked.number;
    END LOOP;
    UPDATE syndic.attempts SET state = 'in_doubt' WHERE thread = ANY (p_threads) AND state = 'reserved';
    UPDATE syndic.steps SET status = 'in_doubt' WHERE thread = ANY (p_threads) AND status = 'reserved';
    RETURN found_open;
END $$;

DROP FUNCTION syndic.refused_by_budget(syndic.threads, numeric);
CREATE FUNCTION syndic.refused_by_budget(t syndic.threads, p_bound numeric, p_tokens bigint) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
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
                trim_scale(node.spent_usd), trim_scale(node.reserved_usd), trim_scale(p_bound))) || '{"exceeded": "usd"}';
        END IF;
        IF over IS NULL AND node.reserved_tokens + node.spent_tokens + p_tokens > node.limit_tokens THEN
            over := syndic.answer('over_budget', format(
                'budget %s: limit %s tokens, spent %s, reserved %s, asked for %s', node.scope, node.limit_tokens,
                node.spent_tokens, node.reserved_tokens, p_tokens)) || '{"exceeded": "tokens"}';
        END IF;
    END LOOP;
    IF nodes < cardinality(t.budget_path) THEN
        RETURN syndic.answer('invalid', format('there is no budget of scope %s', t.budget_scope));
    END IF;
    RETURN over;
END $$;

CREATE OR REPLACE FUNCTION syndic.apply_intent(i jsonb, p_now timestamptz) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    t syndic.threads;
    s syndic.steps;
    before syndic.attempts;
    refusal jsonb;
    halt text;
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
    IF FOUND THEN
        IF s.kind <> 'model' OR s.request_digest <> i ->> 'request_digest' THEN
            RETURN syndic.answer('diverged', format('step %s.%s was %s %s', s.ordinal, s.sub, s.kind, s.request_digest));
        ELSIF syndic.has_result(s) THEN
            RETURN syndic.answer_with('served', s);
        ELSIF s.status = 'reserved' THEN
            SELECT * INTO before FROM syndic.attempts AS a
             WHERE (a.thread, a.ordinal, a.sub, a.attempt) = (s.thread, s.ordinal, s.sub, s.attempt);
            IF (before.bound_usd, before.bound_tokens, before.name) = (bound, tokens, i ->> 'name') THEN
                RETURN syndic.answer_with('ok', s);
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
    INSERT INTO syndic.attempts (thread, ordinal, sub, attempt, epoch, name, request_digest, bound_usd, bound_tokens, state,
                                 worker, asked_at)
    VALUES (s.thread, s.ordinal, s.sub, s.attempt, s.epoch, s.name, s.request_digest, bound, tokens, 'reserved', s.worker, p_now);
    RETURN syndic.answer_with('ok', s);
END $$;

CREATE OR REPLACE FUNCTION syndic.note_soft_limit(t syndic.threads, p_now timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    low record;
BEGIN
    FOR low IN SELECT n.entry_key, n.body
                 FROM syndic.budgets AS b, LATERAL (VALUES
                      (1, b.limit_usd > 0 AND b.spent_usd * 100 >= b.limit_usd * 80,
                       format('budget_low:%s:%s', b.scope, trim_scale(b.limit_usd)),
                       format('{"limit_usd":"%s","percent":80,"scope":%s}', trim_scale(b.limit_usd), to_json(b.scope))),
                      (2, b.limit_tokens > 0 AND b.spent_tokens::numeric * 100 >= b.limit_tokens::numeric * 80,
                       format('budget_low:%s:%s tokens', b.scope, b.limit_tokens),
                       format('{"limit_tokens":%s,"percent":80,"scope":%s}', b.limit_tokens, to_json(b.scope)))
                      ) AS n (place, reached, entry_key, body)
                WHERE b.scope = ANY (t.budget_path) AND n.reached ORDER BY b.depth, n.place LOOP
        IF NOT EXISTS (SELECT FROM syndic.entries AS e WHERE e.project = t.project AND e.key = low.entry_key) THEN
            PERFORM syndic.append_own(t.project, low.entry_key, 'budget_low', p_now, low.body);
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION syndic.note_soft_limit IS 'Internal: one entry for each scope and limit, of dollars or tokens, of which 80 % are spent.';

CREATE OR REPLACE FUNCTION syndic.settle(i jsonb, t syndic.threads, a syndic.attempts, p_now timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    cost numeric(18, 9) := (i ->> 'cost_usd')::numeric;
    tokens bigint := syndic.billed_tokens(nullif(i -> 'usage', 'null'));
    doubted boolean := a.state = 'in_doubt';
    over_usd boolean := cost > a.bound_usd;
    -- Where nobody limits tokens, a bill of more of them is no reason to stop.
    over_tokens boolean := tokens > a.bound_tokens AND EXISTS (
        SELECT FROM syndic.budgets AS b WHERE b.scope = ANY (t.budget_path) AND b.limit_tokens IS NOT NULL);
BEGIN
    UPDATE syndic.attempts
       SET state = i ->> 'status', cost_usd = cost, model = i ->> 'model', usage = nullif(i -> 'usage', 'null'), settled_at = p_now
     WHERE thread = a.thread AND ordinal = a.ordinal AND sub = a.sub AND attempt = a.attempt;
    UPDATE syndic.budgets
       SET reserved_usd = reserved_usd - CASE WHEN doubted THEN 0 ELSE a.bound_usd END,
           spent_usd = spent_usd - CASE WHEN doubted THEN a.bound_usd ELSE 0 END + cost,
           reserved_tokens = reserved_tokens - CASE WHEN doubted THEN 0 ELSE a.bound_tokens END,
           spent_tokens = spent_tokens - CASE WHEN doubted THEN a.bound_tokens ELSE 0 END + tokens,
           violated = violated OR ((over_usd OR over_tokens) AND scope = t.budget_scope)
     WHERE scope = ANY (t.budget_path);
    IF over_usd OR over_tokens THEN
        PERFORM syndic.append_own(
            t.project, format('budget_violated:%s:%s.%s:%s', a.thread, a.ordinal, a.sub, a.attempt), 'budget_violated', p_now,
            format('{%s"bound_usd":"%s","cost_usd":"%s","ordinal":%s,"scope":%s,"thread":%s%s}',
                   CASE WHEN over_tokens THEN format('"bound_tokens":%s,', a.bound_tokens) END,
                   trim_scale(a.bound_usd), trim_scale(cost), a.ordinal, to_json(t.budget_scope), to_json(a.thread),
                   CASE WHEN over_tokens THEN format(',"tokens":%s', tokens) END));
    END IF;
    PERFORM syndic.note_soft_limit(t, p_now);
END $$;

DROP FUNCTION syndic.open_budget(text, numeric);
CREATE FUNCTION syndic.open_budget(p_scope text, p_limit numeric, p_tokens bigint DEFAULT NULL) RETURNS SETOF syndic.budgets
LANGUAGE plpgsql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
BEGIN
    INSERT INTO budgets (scope, depth, limit_usd, limit_tokens)
    SELECT scope, depth, CASE WHEN scope = p_scope THEN p_limit END, CASE WHEN scope = p_scope THEN p_tokens END
      FROM unnest(syndic.budget_path(p_scope)) WITH ORDINALITY AS path (scope, depth)
     ORDER BY depth
    ON CONFLICT (scope) DO NOTHING;
    RETURN QUERY SELECT * FROM budgets WHERE scope = p_scope;
END $$;

DROP FUNCTION syndic.raise_budget(text, numeric);
CREATE FUNCTION syndic.raise_budget(p_scope text, p_limit numeric, p_tokens bigint DEFAULT NULL) RETURNS SETOF syndic.budgets
LANGUAGE plpgsql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
BEGIN
    PERFORM FROM budgets WHERE scope = p_scope OR starts_with(scope, p_scope || '/') ORDER BY depth, scope FOR NO KEY UPDATE;
    UPDATE budgets SET violated = false WHERE violated AND starts_with(scope, p_scope || '/');
    RETURN QUERY UPDATE budgets
        SET limit_usd = coalesce(p_limit, limit_usd), limit_tokens = coalesce(p_tokens, limit_tokens), violated = false
      WHERE scope = p_scope RETURNING *;
END $$;
COMMENT ON FUNCTION syndic.raise_budget IS
    'A person''s decision: new limits (NULL: as it was), and what was blocked by a violation here or below may go on.';

CREATE OR REPLACE VIEW syndic.spending AS
SELECT t.project, t.sprint, t.task, t.role, t.agent, coalesce(a.model, 'unknown') AS model,
       (a.asked_at AT TIME ZONE 'UTC')::date AS day, a.thread, a.ordinal, a.sub, a.attempt, a.state,
       coalesce((a.usage ->> 'prompt_tokens')::bigint, 0) AS prompt_tokens,
       coalesce((a.usage ->> 'completion_tokens')::bigint, 0) AS completion_tokens,
       coalesce((a.usage ->> 'cached_tokens')::bigint, 0) AS cached_tokens,
       coalesce((a.usage ->> 'reasoning_tokens')::bigint, 0) AS reasoning_tokens,
       CASE a.state WHEN 'in_doubt' THEN a.bound_usd ELSE a.cost_usd END AS cost_usd,
       CASE a.state WHEN 'in_doubt' THEN a.bound_tokens
            ELSE coalesce((a.usage ->> 'prompt_tokens')::bigint, 0) + coalesce((a.usage ->> 'completion_tokens')::bigint, 0)
            END AS tokens
  FROM syndic.attempts AS a JOIN syndic.threads AS t USING (thread)
 WHERE a.state IN ('done', 'in_doubt') OR a.cost_usd > 0;

CREATE OR REPLACE VIEW syndic.usage AS
SELECT t.project, t.sprint, t.task, t.role, t.agent, coalesce(a.model, 'unknown') AS model,
       count(*) FILTER (WHERE a.state = 'done') AS calls,
       count(*) FILTER (WHERE a.state = 'in_doubt') AS in_doubt,
       coalesce(sum((a.usage ->> 'prompt_tokens')::bigint), 0)::bigint AS prompt_tokens,
       coalesce(sum((a.usage ->> 'completion_tokens')::bigint), 0)::bigint AS completion_tokens,
       sum(CASE a.state WHEN 'in_doubt' THEN a.bound_usd ELSE a.cost_usd END) AS cost_usd
  FROM syndic.attempts AS a JOIN syndic.threads AS t USING (thread)
 WHERE a.state IN ('done', 'in_doubt') OR a.cost_usd > 0
 GROUP BY 1, 2, 3, 4, 5, 6;

COMMENT ON COLUMN syndic.spending.model IS 'As billed; unknown where an attempt is in doubt.';
COMMENT ON COLUMN syndic.spending.tokens IS 'What counts against a limit of tokens: as billed, or the bound of an attempt in doubt.';

CREATE OR REPLACE VIEW syndic.in_doubt AS
SELECT t.project, a.thread, a.ordinal, a.sub, a.attempt, a.name, a.request_digest, a.bound_usd, a.worker, a.epoch, a.asked_at,
       a.bound_tokens
  FROM syndic.attempts AS a JOIN syndic.threads AS t USING (thread)
 WHERE a.state = 'in_doubt' ORDER BY a.asked_at;

REVOKE ALL ON FUNCTION syndic.billed_tokens, syndic.charge_doubt, syndic.refused_by_budget, syndic.open_budget,
    syndic.raise_budget FROM PUBLIC;
GRANT EXECUTE ON FUNCTION syndic.open_budget, syndic.raise_budget TO syndic_worker;
