-- What ledger/_postgres_teamwork.py asks, by name.

-- name: post_board
SELECT syndic.post_board(%(place)s::jsonb, %(posts)s::jsonb, %(now)s) AS answer;

-- name: board_entries
SELECT project, task, section, name, version, text, options, author, at
  FROM syndic.board_now WHERE project = %(project)s
 ORDER BY section COLLATE "C", task COLLATE "C", name COLLATE "C";

-- name: board_votes
SELECT question, task, version, agent, choice, reasoning, confidence, changes, at
  FROM syndic.votes WHERE project = %(project)s ORDER BY task COLLATE "C", question COLLATE "C", agent COLLATE "C";

-- name: board_verdicts
SELECT question, task, version, choice, how, reasoning, decided_by, counts
  FROM syndic.verdicts WHERE project = %(project)s;

-- name: cast_vote
SELECT syndic.cast_vote(%(place)s::jsonb, %(vote)s::jsonb, %(now)s) AS answer;

-- name: close_question
SELECT syndic.close_question(%(project)s, %(verdict)s::jsonb, %(seen)s, %(now)s) AS answer;

-- name: publish_card
SELECT n, syndic.publish_card(a ->> 'project', a -> 'card', (a ->> 'now')::timestamptz)
  -- In one order for all processes: each holds its rows until it is through.
  FROM (SELECT a, n FROM jsonb_array_elements(%(asked)s::jsonb) WITH ORDINALITY AS asked (a, n)
         ORDER BY a ->> 'project', a -> 'card' ->> 'id', n) AS asked;

-- name: cards
SELECT agent AS id, name, role, seat, title, capabilities, tier, state, task
  FROM syndic.agents WHERE project = %(project)s ORDER BY agent COLLATE "C";

-- name: team_facts
SELECT agent, coalesce(l.load, 0) AS load, coalesce(r.succeeded, 0) AS succeeded, coalesce(r.failed, 0) AS failed
  FROM (SELECT agent, count(*) FILTER (WHERE expires_at > %(now)s)::integer AS load
          FROM syndic.threads WHERE project = %(project)s GROUP BY agent) AS l
  FULL JOIN (SELECT agent, succeeded, failed FROM syndic.results WHERE project = %(project)s) AS r USING (agent)
 ORDER BY agent COLLATE "C";

-- name: remember
SELECT syndic.remember(%(place)s::jsonb, %(memories)s::jsonb, %(most)s, %(now)s) AS answer;

-- name: recall
SELECT n, name, text, expires_at
  FROM jsonb_array_elements(%(asked)s::jsonb) WITH ORDINALITY AS asked (a, n), LATERAL (
       SELECT name, text, expires_at FROM syndic.memories
        WHERE project = a ->> 'project' AND agent = a ->> 'agent' AND expires_at > (a ->> 'now')::timestamptz) AS kept
 ORDER BY n, name COLLATE "C";
