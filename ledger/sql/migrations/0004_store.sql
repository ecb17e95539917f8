-- Leases, budgets, messages, standing and artifacts: everything else a worker may write.

CREATE FUNCTION syndic.budget_path(p_scope text) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT array_agg(array_to_string(parts[1:n], '/') ORDER BY n)
      FROM string_to_array(p_scope, '/') AS parts, generate_subscripts(parts, 1) AS n
$$;

CREATE FUNCTION syndic.doubt(p_threads text[]) RETURNS integer LANGUAGE sql AS $$
    WITH asked AS (
        UPDATE syndic.attempts SET state = 'in_doubt' WHERE thread = ANY (p_threads) AND state = 'reserved' RETURNING 1
    ), open AS (
        UPDATE syndic.steps SET status = 'in_doubt' WHERE thread = ANY (p_threads) AND status = 'reserved' RETURNING 1
    )
    SELECT count(*)::integer FROM asked
$$;
COMMENT ON FUNCTION syndic.doubt IS 'Internal: asked and never answered; the bound stays charged until the truth is known.';

CREATE FUNCTION syndic.acquire_lease(p_info jsonb, p_holder text, p_now timestamptz, p_ttl interval)
RETURNS TABLE (epoch bigint, holder text, seconds_left double precision)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
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
    PERFORM syndic.doubt(ARRAY[t.thread]);
    RETURN QUERY UPDATE syndic.threads AS n
        SET epoch = n.epoch + 1, holder = p_holder, expires_at = p_now + p_ttl
      WHERE n.thread = t.thread
  RETURNING n.epoch, n.holder, NULL::double precision;
END $$;
COMMENT ON FUNCTION syndic.acquire_lease IS 'seconds_left is NULL where the lease was taken; else it is who holds it, and how long.';

CREATE FUNCTION syndic.renew_lease(p_thread text, p_holder text, p_epoch bigint, p_expires timestamptz) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
    WITH renewed AS (
        UPDATE threads SET expires_at = p_expires WHERE thread = p_thread AND holder = p_holder AND epoch = p_epoch RETURNING 1
    )
    SELECT EXISTS (SELECT FROM renewed)
$$;

CREATE FUNCTION syndic.release_lease(p_thread text, p_holder text, p_epoch bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
    UPDATE threads SET holder = NULL, expires_at = NULL WHERE thread = p_thread AND holder = p_holder AND epoch = p_epoch
$$;

CREATE FUNCTION syndic.reconcile(p_project text, p_now timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
DECLARE
    ended text[];
BEGIN
    PERFORM FROM threads WHERE project = p_project ORDER BY thread FOR NO KEY UPDATE;
    ended := ARRAY(
        SELECT thread FROM threads AS t
         WHERE project = p_project AND (expires_at <= p_now OR holder IS NULL AND EXISTS (
               SELECT FROM attempts AS a WHERE a.thread = t.thread AND a.state = 'reserved')));
    PERFORM syndic.doubt(ended);
    -- A slow worker that comes back must find its lease gone.
    UPDATE threads SET epoch = epoch + 1, holder = NULL, expires_at = NULL WHERE thread = ANY (ended);
    RETURN cardinality(ended);
END $$;
COMMENT ON FUNCTION syndic.reconcile IS 'End runs whose lease has run out; returns how many threads that were.';

CREATE FUNCTION syndic.open_budget(p_scope text, p_limit numeric) RETURNS SETOF syndic.budgets
LANGUAGE plpgsql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
BEGIN
    INSERT INTO budgets (scope, depth, limit_usd)
    SELECT scope, depth, CASE WHEN scope = p_scope THEN p_limit END
      FROM unnest(syndic.budget_path(p_scope)) WITH ORDINALITY AS path (scope, depth)
     ORDER BY depth
    ON CONFLICT (scope) DO NOTHING;
    RETURN QUERY SELECT * FROM budgets WHERE scope = p_scope;
END $$;

CREATE FUNCTION syndic.raise_budget(p_scope text, p_limit numeric) RETURNS SETOF syndic.budgets
LANGUAGE sql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
    UPDATE budgets SET limit_usd = p_limit, violated = false WHERE scope = p_scope RETURNING *
$$;

CREATE FUNCTION syndic.put_artifact(p_content bytea, p_media_type text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
DECLARE
    name text := encode(sha256(p_content), 'hex');
BEGIN
    INSERT INTO artifacts (digest, media_type, content) VALUES (name, p_media_type, p_content) ON CONFLICT (digest) DO NOTHING;
    RETURN name;
END $$;

CREATE FUNCTION syndic.set_standing(p_subject text, p_standing text, p_reason text, p_now timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
    INSERT INTO standings (subject, standing, reason, at) VALUES (p_subject, p_standing, p_reason, p_now)
    ON CONFLICT (subject) DO UPDATE SET standing = excluded.standing, reason = excluded.reason, at = excluded.at
     WHERE (standings.standing, standings.reason) <> (excluded.standing, excluded.reason)
$$;

CREATE FUNCTION syndic.put_messages(p_messages jsonb, p_now timestamptz) RETURNS void LANGUAGE sql AS $$
    INSERT INTO syndic.messages (id, project, source, target, type, payload, correlation, at)
    SELECT m ->> 'id', m ->> 'project', m ->> 'source', m ->> 'target', m ->> 'type', (m ->> 'payload')::json,
           m ->> 'correlation', p_now
      FROM jsonb_array_elements(p_messages) WITH ORDINALITY AS n (m, i)
     ORDER BY i
    ON CONFLICT (id) DO NOTHING
$$;

CREATE FUNCTION syndic.post(p_messages jsonb, p_now timestamptz) RETURNS SETOF syndic.messages
LANGUAGE plpgsql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
BEGIN
    PERFORM syndic.put_messages(p_messages, p_now);
    RETURN QUERY SELECT kept.* FROM jsonb_array_elements(p_messages) WITH ORDINALITY AS n (m, i)
        JOIN messages AS kept ON kept.id = m ->> 'id' ORDER BY i;
END $$;

CREATE FUNCTION syndic.mark_delivered(p_ids text[], p_now timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
    UPDATE messages SET delivered_at = p_now WHERE id = ANY (p_ids) AND delivered_at IS NULL
$$;

CREATE FUNCTION syndic.redeliver() RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
    WITH again AS (
        UPDATE messages SET delivered_at = NULL WHERE delivered_at IS NOT NULL AND read_by_step IS NULL RETURNING 1
    )
    SELECT count(*)::integer FROM again
$$;
