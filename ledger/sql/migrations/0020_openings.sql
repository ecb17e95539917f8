-- What opens budgets and leases is planned once. A function in SQL is planned anew in each transaction, and a statement that
-- unnests what such a function returns was, at each call.

CREATE OR REPLACE FUNCTION syndic.budget_path(p_scope text) RETURNS text[] LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    part text;
    reached text;
    path text[];
BEGIN
    FOREACH part IN ARRAY string_to_array(p_scope, '/') LOOP
        reached := concat_ws('/', reached, part);
        path := path || reached;
    END LOOP;
    RETURN path;
END $$;

ALTER FUNCTION syndic.open_budget(text, numeric, bigint) SET plan_cache_mode = force_generic_plan;
