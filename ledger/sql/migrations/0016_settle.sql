-- A settlement looks for soft limits with the very statement that charges the budgets, not with one of its own.

CREATE OR REPLACE FUNCTION syndic.settle(i jsonb, t syndic.threads, a syndic.attempts, p_now timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    cost numeric(18, 9) := (i ->> 'cost_usd')::numeric;
    tokens bigint := syndic.billed_tokens(nullif(i -> 'usage', 'null'));
    doubted_usd numeric(18, 9) := CASE WHEN a.state = 'in_doubt' THEN a.bound_usd ELSE 0 END;
    doubted_tokens bigint := CASE WHEN a.state = 'in_doubt' THEN a.bound_tokens ELSE 0 END;
    over_usd boolean := cost > a.bound_usd;
    over_tokens boolean := tokens > a.bound_tokens;
    low boolean;
BEGIN
    IF over_tokens THEN
        -- Where nobody limits tokens, a bill of more of them is no reason to stop.
        over_tokens := EXISTS (
            SELECT FROM syndic.budgets AS b WHERE b.scope = ANY (t.budget_path) AND b.limit_tokens IS NOT NULL);
    END IF;
    UPDATE syndic.attempts
       SET state = i ->> 'status', cost_usd = cost, model = i ->> 'model', usage = nullif(i -> 'usage', 'null'), settled_at = p_now
     WHERE thread = a.thread AND ordinal = a.ordinal AND sub = a.sub AND attempt = a.attempt;
    WITH charged AS (
        UPDATE syndic.budgets
           SET reserved_usd = reserved_usd - (a.bound_usd - doubted_usd), spent_usd = spent_usd - doubted_usd + cost,
               reserved_tokens = reserved_tokens - (a.bound_tokens - doubted_tokens),
               spent_tokens = spent_tokens - doubted_tokens + tokens,
               violated = violated OR ((over_usd OR over_tokens) AND scope = t.budget_scope)
         WHERE scope = ANY (t.budget_path)
        RETURNING limit_usd, spent_usd, limit_tokens, spent_tokens
    )
    SELECT bool_or(limit_usd > 0 AND spent_usd * 100 >= limit_usd * 80
                   OR limit_tokens > 0 AND spent_tokens::numeric * 100 >= limit_tokens::numeric * 80)
      INTO low FROM charged;
    IF over_usd OR over_tokens THEN
        PERFORM syndic.append_own(
            t.project, format('budget_violated:%s:%s.%s:%s', a.thread, a.ordinal, a.sub, a.attempt), 'budget_violated', p_now,
            format('{%s"bound_usd":"%s","cost_usd":"%s","ordinal":%s,"scope":%s,"thread":%s%s}',
                   CASE WHEN over_tokens THEN format('"bound_tokens":%s,', a.bound_tokens) END,
                   trim_scale(a.bound_usd), trim_scale(cost), a.ordinal, to_json(t.budget_scope), to_json(a.thread),
                   CASE WHEN over_tokens THEN format(',"tokens":%s', tokens) END));
    END IF;
    IF low THEN
        PERFORM syndic.note_soft_limit(t, p_now);
    END IF;
END $$;
