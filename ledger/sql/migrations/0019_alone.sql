-- What a run that is alone waits for at each of its commits: locks that are looked up without reading the items again and again,
-- plans that are made once, and no delivery of what is read already.

CREATE OR REPLACE FUNCTION syndic.lock_for(p_items jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    named text[] := ARRAY(SELECT jsonb_array_elements_text(jsonb_path_query_array(p_items, '$[*].thread')));
    starts text[] := ARRAY(SELECT jsonb_array_elements_text(jsonb_path_query_array(p_items, '$[*].info.thread')));
    models text[] := ARRAY(SELECT jsonb_array_elements_text(
        jsonb_path_query_array(p_items, '$[*] ? (@.item == "intent" || @.kind == "model").thread')));
    chains text[] := ARRAY(SELECT jsonb_array_elements_text(jsonb_path_query_array(p_items, '$[*].entries[*].project')));
    scopes text[];
    projects text[];
BEGIN
    PERFORM FROM syndic.threads WHERE thread = ANY (named || starts) ORDER BY thread FOR NO KEY UPDATE;
    IF cardinality(starts) > 0 THEN
        -- Whoever takes a thread over puts its open calls in doubt.
        models := models || ARRAY(SELECT thread FROM syndic.attempts WHERE thread = ANY (starts) AND state = 'reserved');
    END IF;
    IF cardinality(models) > 0 THEN
        SELECT array_agg(scope), array_agg(DISTINCT project) INTO scopes, projects
          FROM syndic.threads, unnest(budget_path) AS scope WHERE thread = ANY (models);
        PERFORM FROM syndic.budgets WHERE scope = ANY (scopes) ORDER BY depth, scope FOR NO KEY UPDATE;
    END IF;
    PERFORM syndic.lock_chains(chains || projects);
END $$;

-- Their statements name rows by keys, mostly by arrays of keys, of which Postgres thinks that a plan for the very values must be
-- better: it made most of them anew with each call.
ALTER FUNCTION syndic.apply(jsonb, timestamptz) SET plan_cache_mode = force_generic_plan;
ALTER FUNCTION syndic.record(jsonb) SET plan_cache_mode = force_generic_plan;

CREATE FUNCTION syndic.put_read(i jsonb, p_now timestamptz) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    written integer;
BEGIN
    INSERT INTO syndic.messages (id, project, source, target, type, payload, correlation, schema_version, at, delivered_at, read_by_step)
    SELECT m ->> 'id', m ->> 'project', m ->> 'source', m ->> 'target', m ->> 'type', (m ->> 'payload')::json,
           m ->> 'correlation', coalesce((m ->> 'schema_version')::integer, 1), p_now, p_now,
           format('%s#%s.%s', i ->> 'thread', i ->> 'ordinal', i ->> 'sub')
      FROM jsonb_array_elements(i -> 'outbox') AS m
     WHERE i -> 'acknowledged' ? (m ->> 'id') AND m ->> 'target' NOT IN ('*', 'team')
    ON CONFLICT (id) DO NOTHING;
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END $$;
COMMENT ON FUNCTION syndic.put_read IS
    'Internal: messages that a step writes and reads at once, such as its own assignment. Nobody waits for them, so nothing is delivered.';

CREATE OR REPLACE FUNCTION syndic.attach(i jsonb, p_now timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    read_at_once integer := 0;
BEGIN
    IF i ? 'entries' THEN
        PERFORM syndic.append_all(i -> 'entries');
    END IF;
    IF i ? 'outbox' THEN
        IF i ? 'acknowledged' THEN
            read_at_once := syndic.put_read(i, p_now);
        END IF;
        -- An answer that was paid for is never refused for the sake of a message.
        IF i ->> 'kind' = 'model' THEN
            PERFORM syndic.park_messages(i -> 'outbox', p_now);
        ELSIF read_at_once < jsonb_array_length(i -> 'outbox') THEN
            PERFORM syndic.put_messages(i -> 'outbox', p_now);
        END IF;
    END IF;
    IF i ? 'acknowledged' AND read_at_once < jsonb_array_length(i -> 'acknowledged') THEN
        UPDATE syndic.messages
           SET read_by_step = format('%s#%s.%s', i ->> 'thread', i ->> 'ordinal', i ->> 'sub')
         WHERE id IN (SELECT jsonb_array_elements_text(i -> 'acknowledged')) AND read_by_step IS NULL AND buried_at IS NULL;
    END IF;
END $$;

REVOKE ALL ON FUNCTION syndic.put_read FROM PUBLIC;
