-- Runs that begin and tasks that get their budget wait for no neighbour that changes something else.

CREATE OR REPLACE FUNCTION syndic.open_with_lease() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- The weakest lock: the relay may number messages meanwhile, and whoever closes the inbox comes before or after.
    PERFORM FROM syndic.inboxes WHERE project = NEW.project AND name = NEW.agent AND closed_at IS NULL FOR KEY SHARE;
    IF NOT FOUND THEN
        PERFORM syndic.open_inbox(NEW.project, NEW.agent, NULL, true, clock_timestamp());
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION syndic.open_budget(p_scope text, p_limit numeric, p_tokens bigint DEFAULT NULL) RETURNS SETOF syndic.budgets
LANGUAGE plpgsql SECURITY DEFINER SET search_path = syndic, pg_temp SET enable_seqscan = off AS $$
BEGIN
    -- Scopes that are there are left alone: an insert that meets one waits for the group commit that charges it.
    INSERT INTO budgets (scope, depth, limit_usd, limit_tokens)
    SELECT path.scope, path.depth, CASE WHEN path.scope = p_scope THEN p_limit END, CASE WHEN path.scope = p_scope THEN p_tokens END
      FROM unnest(syndic.budget_path(p_scope)) WITH ORDINALITY AS path (scope, depth)
     WHERE NOT EXISTS (SELECT FROM budgets AS known WHERE known.scope = path.scope)
     ORDER BY path.depth
    ON CONFLICT (scope) DO NOTHING;
    RETURN QUERY SELECT * FROM budgets WHERE scope = p_scope;
END $$;
