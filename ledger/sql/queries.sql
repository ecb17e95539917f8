-- What ledger/postgres.py asks, by name. Everything that writes is a function of the schema.

-- name: record
SELECT project, seq, key, kind, at, payload, prev, hash FROM syndic.record(%(entries)s::jsonb);

-- name: entries
SELECT project, seq, key, kind, at, payload, prev, hash FROM syndic.entries
 WHERE project = %(project)s AND seq > %(after)s ORDER BY seq LIMIT %(limit)s;

-- name: head
SELECT seq, hash FROM syndic.entries WHERE project = %(project)s ORDER BY seq DESC LIMIT 1;

-- name: projects
SELECT project FROM syndic.entries WHERE seq = 1 ORDER BY project;

-- name: acquire_lease
SELECT epoch, holder, seconds_left FROM syndic.acquire_lease(%(info)s::jsonb, %(holder)s, %(now)s, %(ttl)s);

-- name: renew_lease
SELECT syndic.renew_lease(%(thread)s, %(holder)s, %(epoch)s, %(expires)s) AS renewed;

-- name: release_lease
SELECT n, syndic.release_lease(a ->> 'thread', a ->> 'holder', (a ->> 'epoch')::bigint)
  -- In the order in which group commits lock threads.
  FROM (SELECT a, n FROM jsonb_array_elements(%(asked)s::jsonb) WITH ORDINALITY AS asked (a, n)
         ORDER BY a ->> 'thread', n) AS asked;

-- name: reconcile
SELECT syndic.reconcile(%(project)s, %(now)s) AS ended;

-- name: lapsed
SELECT DISTINCT project FROM syndic.threads AS t
 WHERE expires_at <= %(now)s OR holder IS NULL AND EXISTS (
       SELECT FROM syndic.attempts AS a WHERE a.thread = t.thread AND a.state = 'reserved')
 ORDER BY project;

-- name: steps
SELECT n, step FROM jsonb_array_elements(%(asked)s::jsonb) WITH ORDINALITY AS asked (a, n), LATERAL (
       SELECT ordinal, sub, syndic.step_json(s, true) AS step FROM syndic.steps AS s WHERE thread = a ->> 'thread') AS kept
 ORDER BY n, ordinal, sub;

-- name: apply
SELECT syndic.apply(%(items)s::jsonb, %(now)s) AS answers;

-- name: in_doubt
SELECT thread, ordinal, sub, 'model' AS kind, name, request_digest, 'in_doubt' AS status, trim_scale(bound_usd) AS cost_usd,
       worker, epoch, attempt, asked_at AS started_at
  FROM syndic.in_doubt WHERE project = %(project)s ORDER BY thread, ordinal, sub, attempt;

-- name: open_budget
SELECT n, scope, trim_scale(limit_usd) AS limit_usd, trim_scale(reserved_usd) AS reserved_usd, trim_scale(spent_usd) AS spent_usd,
       violated, limit_tokens, reserved_tokens, spent_tokens
  -- In one order, whoever asks: two who open the same ancestors wait for each other.
  FROM (SELECT a, n FROM jsonb_array_elements(%(asked)s::jsonb) WITH ORDINALITY AS asked (a, n)
         ORDER BY a ->> 'scope', n) AS asked,
       syndic.open_budget(a ->> 'scope', (a ->> 'limit')::numeric, (a ->> 'tokens')::bigint);

-- name: raise_budget
SELECT scope, trim_scale(limit_usd) AS limit_usd, trim_scale(reserved_usd) AS reserved_usd, trim_scale(spent_usd) AS spent_usd,
       violated, limit_tokens, reserved_tokens, spent_tokens
  FROM syndic.raise_budget(%(scope)s, %(limit)s::numeric, %(tokens)s::bigint);

-- name: budget
SELECT scope, trim_scale(limit_usd) AS limit_usd, trim_scale(reserved_usd) AS reserved_usd, trim_scale(spent_usd) AS spent_usd,
       violated, limit_tokens, reserved_tokens, spent_tokens
  FROM syndic.budgets WHERE scope = %(scope)s;

-- name: budget_path
SELECT n, scope, trim_scale(limit_usd) AS limit_usd, trim_scale(reserved_usd) AS reserved_usd, trim_scale(spent_usd) AS spent_usd,
       violated, limit_tokens, reserved_tokens, spent_tokens
  FROM jsonb_array_elements(%(asked)s::jsonb) WITH ORDINALITY AS asked (a, n), LATERAL (
       SELECT * FROM syndic.budgets WHERE scope IN (SELECT jsonb_array_elements_text(a -> 'scopes'))) AS node
 ORDER BY n, depth;

-- name: usage
SELECT sprint, task, role, agent, model, calls, in_doubt, prompt_tokens, completion_tokens, trim_scale(cost_usd) AS cost_usd
  FROM syndic.usage WHERE project = %(project)s ORDER BY sprint, task, role, agent, model;

-- name: cost
SELECT name, calls, in_doubt, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, cost_usd
  FROM syndic.cost WHERE project = %(project)s AND dimension = %(dimension)s ORDER BY name COLLATE "C";

-- name: put_artifact
SELECT syndic.put_artifact(%(content)s, %(media_type)s) AS digest;

-- name: get_artifact
SELECT content FROM syndic.artifacts WHERE digest = %(digest)s;

-- name: set_standing
SELECT syndic.set_standing(%(subject)s, %(standing)s, %(reason)s, %(now)s);

-- name: standing
SELECT subject, standing, reason, at FROM syndic.standings WHERE subject = %(subject)s;

-- name: halted
SELECT subject, standing, reason, at FROM syndic.standings
 WHERE subject = ANY (%(subjects)s) AND standing <> 'active' ORDER BY array_position(%(subjects)s, subject) LIMIT 1;

-- name: migration_lock
SELECT pg_advisory_xact_lock(1398361668, 0);

-- name: migration_table
CREATE SCHEMA IF NOT EXISTS syndic;
CREATE TABLE IF NOT EXISTS syndic.migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    digest text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- name: migrations_exist
SELECT to_regclass('syndic.migrations') IS NOT NULL AS present;

-- name: migrations_applied
SELECT version, name, digest FROM syndic.migrations ORDER BY version;

-- name: migration_done
INSERT INTO syndic.migrations (version, name, digest) VALUES (%(version)s, %(name)s, %(digest)s);

-- name: role_exists
SELECT 1 FROM pg_roles WHERE rolname = %(login)s;
