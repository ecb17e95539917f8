-- What was spent, on whom and on what, for `syndic cost --by` and for people with psql.

CREATE VIEW syndic.spending AS
SELECT t.project, t.sprint, t.task, t.role, t.agent, coalesce(a.model, a.name) AS model,
       (a.asked_at AT TIME ZONE 'UTC')::date AS day, a.thread, a.ordinal, a.sub, a.attempt, a.state,
       coalesce((a.usage ->> 'prompt_tokens')::bigint, 0) AS prompt_tokens,
       coalesce((a.usage ->> 'completion_tokens')::bigint, 0) AS completion_tokens,
       coalesce((a.usage ->> 'cached_tokens')::bigint, 0) AS cached_tokens,
       coalesce((a.usage ->> 'reasoning_tokens')::bigint, 0) AS reasoning_tokens,
       CASE a.state WHEN 'in_doubt' THEN a.bound_usd ELSE a.cost_usd END AS cost_usd
  FROM syndic.attempts AS a JOIN syndic.threads AS t USING (thread)
 WHERE a.state IN ('done', 'in_doubt') OR a.cost_usd > 0;
COMMENT ON VIEW syndic.spending IS 'A row for each time that money was spent or may have been; attempts in doubt are charged at their bound.';

CREATE VIEW syndic.cost AS
SELECT s.project, d.dimension, d.name,
       count(*) FILTER (WHERE s.state = 'done') AS calls,
       count(*) FILTER (WHERE s.state = 'in_doubt') AS in_doubt,
       sum(s.prompt_tokens)::bigint AS prompt_tokens,
       sum(s.completion_tokens)::bigint AS completion_tokens,
       sum(s.cached_tokens)::bigint AS cached_tokens,
       sum(s.reasoning_tokens)::bigint AS reasoning_tokens,
       trim_scale(sum(s.cost_usd)) AS cost_usd
  FROM syndic.spending AS s,
       LATERAL (VALUES ('agent', s.agent), ('role', s.role), ('model', s.model), ('sprint', 's' || s.sprint),
                       ('day', s.day::text), ('task', 's' || s.sprint || '/' || s.task)) AS d (dimension, name)
 GROUP BY s.project, d.dimension, d.name;
COMMENT ON VIEW syndic.cost IS 'Spending by agent, role, model, sprint, day (UTC) or task: choose with WHERE dimension = ...';

CREATE VIEW syndic.cost_by_agent AS
SELECT project, name AS agent, calls, in_doubt, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, cost_usd
  FROM syndic.cost WHERE dimension = 'agent' ORDER BY project, cost_usd DESC, agent;
CREATE VIEW syndic.cost_by_role AS
SELECT project, name AS role, calls, in_doubt, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, cost_usd
  FROM syndic.cost WHERE dimension = 'role' ORDER BY project, cost_usd DESC, role;
CREATE VIEW syndic.cost_by_model AS
SELECT project, name AS model, calls, in_doubt, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, cost_usd
  FROM syndic.cost WHERE dimension = 'model' ORDER BY project, cost_usd DESC, model;
CREATE VIEW syndic.cost_by_sprint AS
SELECT project, name AS sprint, calls, in_doubt, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, cost_usd
  FROM syndic.cost WHERE dimension = 'sprint' ORDER BY project, length(name), sprint;
CREATE VIEW syndic.cost_by_day AS
SELECT project, name AS day, calls, in_doubt, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, cost_usd
  FROM syndic.cost WHERE dimension = 'day' ORDER BY project, day;
COMMENT ON VIEW syndic.cost_by_agent IS 'Spending by agent, dearest first.';
COMMENT ON VIEW syndic.cost_by_role IS 'Spending by role, dearest first.';
COMMENT ON VIEW syndic.cost_by_model IS 'Spending by model, dearest first.';
COMMENT ON VIEW syndic.cost_by_sprint IS 'Spending by sprint; s0 is what belongs to the project itself.';
COMMENT ON VIEW syndic.cost_by_day IS 'Spending by day in UTC.';

GRANT SELECT ON syndic.spending, syndic.cost, syndic.cost_by_agent, syndic.cost_by_role, syndic.cost_by_model,
    syndic.cost_by_sprint, syndic.cost_by_day TO syndic_worker;
