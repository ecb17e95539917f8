-- A run that begins opens its agent's inbox and what is missing of its budget's scope, in the commit that takes its thread: nobody
-- opens the scopes of sprints and tasks beforehand. They have no limit of their own, and nothing is opened below a project without
-- a budget.

CREATE FUNCTION syndic.open_for_runs(p_items jsonb, p_now timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    infos jsonb[];
BEGIN
    IF NOT p_items @? '$[*].info' THEN
        RETURN;
    END IF;
    infos := ARRAY(SELECT jsonb_array_elements(jsonb_path_query_array(p_items, '$[*].info')));
    -- Each in one order: those who open the same ones wait for each other in one direction. What no index can hold would be an
    -- error for all neighbours; it is left to the item's own refusal.
    INSERT INTO syndic.inboxes (project, name, opened_at)
    SELECT DISTINCT info ->> 'project' AS project, info ->> 'agent' AS agent, p_now
      FROM unnest(infos) AS info
     WHERE octet_length(info ->> 'project') + octet_length(info ->> 'agent') <= 2000
       AND NOT EXISTS (SELECT FROM syndic.inboxes AS known
                        WHERE known.project = info ->> 'project' AND known.name = info ->> 'agent')
     ORDER BY project, agent
    ON CONFLICT (project, name) DO NOTHING;
    INSERT INTO syndic.budgets (scope, depth)
    SELECT DISTINCT path.scope, path.depth
      FROM unnest(infos) AS info, unnest(syndic.budget_path(info ->> 'budget_scope')) WITH ORDINALITY AS path (scope, depth)
     WHERE EXISTS (SELECT FROM syndic.budgets AS root WHERE root.scope = split_part(info ->> 'budget_scope', '/', 1))
       AND NOT EXISTS (SELECT FROM syndic.budgets AS known WHERE known.scope = path.scope)
       AND octet_length(path.scope) <= 2000
     ORDER BY path.scope
    ON CONFLICT (scope) DO NOTHING;
END $$;
COMMENT ON FUNCTION syndic.open_for_runs IS 'Internal: inboxes, and budgets without limits, that runs which begin find missing.';

CREATE OR REPLACE FUNCTION syndic.apply(p_items jsonb, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = syndic, pg_temp SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    i jsonb;
    one jsonb;
    answers jsonb[] := '{}';
    reason text;
BEGIN
    -- Before any lock is held, so that nobody who waits here is waited for.
    PERFORM syndic.open_for_runs(p_items, p_now);
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

REVOKE ALL ON FUNCTION syndic.open_for_runs FROM PUBLIC;
