-- For people with psql.

CREATE VIEW syndic.ledger AS
SELECT project, seq, at, kind, key, payload::json -> 'body' AS body, hash FROM syndic.entries ORDER BY project, seq;
COMMENT ON VIEW syndic.ledger IS 'The chain with readable bodies.';

CREATE VIEW syndic.usage AS
SELECT t.project, t.sprint, t.task, t.role, t.agent, coalesce(a.model, a.name) AS model,
       count(*) FILTER (WHERE a.state = 'done') AS calls,
       count(*) FILTER (WHERE a.state = 'in_doubt') AS in_doubt,
       coalesce(sum((a.usage ->> 'prompt_tokens')::bigint), 0)::bigint AS prompt_tokens,
       coalesce(sum((a.usage ->> 'completion_tokens')::bigint), 0)::bigint AS completion_tokens,
       sum(CASE a.state WHEN 'in_doubt' THEN a.bound_usd ELSE a.cost_usd END) AS cost_usd
  FROM syndic.attempts AS a JOIN syndic.threads AS t USING (thread)
 WHERE a.state IN ('done', 'in_doubt') OR a.cost_usd > 0
 GROUP BY 1, 2, 3, 4, 5, 6;
COMMENT ON VIEW syndic.usage IS 'Model calls and their cost; attempts in doubt are charged at their bound.';

CREATE VIEW syndic.usage_by_task AS
SELECT project, sprint, task, sum(calls) AS calls, sum(in_doubt) AS in_doubt, sum(prompt_tokens) AS prompt_tokens,
       sum(completion_tokens) AS completion_tokens, sum(cost_usd) AS cost_usd
  FROM syndic.usage GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
COMMENT ON VIEW syndic.usage_by_task IS 'The same, a row a task.';

CREATE VIEW syndic.in_doubt AS
SELECT t.project, a.thread, a.ordinal, a.sub, a.attempt, a.name, a.request_digest, a.bound_usd, a.worker, a.epoch, a.asked_at
  FROM syndic.attempts AS a JOIN syndic.threads AS t USING (thread)
 WHERE a.state = 'in_doubt' ORDER BY a.asked_at;
COMMENT ON VIEW syndic.in_doubt IS 'Models that were asked and whose answer was never journaled.';

CREATE VIEW syndic.leases AS
SELECT thread, holder, epoch, expires_at FROM syndic.threads WHERE holder IS NOT NULL ORDER BY expires_at;
COMMENT ON VIEW syndic.leases IS 'Who works on what, and until when unless renewed.';

CREATE VIEW syndic.journal AS
SELECT thread, ordinal, sub, kind, name, status, attempt, cost_usd, commit, worker, started_at, finished_at - started_at AS took,
       left(result::text, 120) AS result
  FROM syndic.steps ORDER BY thread, ordinal, sub;
COMMENT ON VIEW syndic.journal IS 'Steps at a glance.';
