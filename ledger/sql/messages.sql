-- What ledger/_postgres_messages.py and ledger/_signals.py ask, by name.

-- name: open_inbox
SELECT syndic.open_inbox(%(project)s, %(name)s, %(capacity)s, %(reopen)s, %(now)s);

-- name: close_inbox
SELECT syndic.close_inbox(%(project)s, %(name)s, %(reason)s, %(now)s) AS left_over;

-- name: post
SELECT position, id, project, source, target, type, payload::text AS payload, correlation, schema_version, at, read_by_step, generation,
       number, delivered_at, buried_at
  FROM syndic.post(%(messages)s::jsonb, %(park)s, %(now)s);

-- name: undelivered
SELECT position, id, project, source, target, type, payload::text AS payload, correlation, schema_version, at, read_by_step, generation,
       number, delivered_at, buried_at
  FROM syndic.undelivered(%(limit)s);

-- name: mark_delivered
SELECT syndic.mark_delivered(%(ids)s, %(generation)s, %(now)s);

-- name: redeliver
SELECT syndic.redeliver(%(project)s, %(name)s, %(generation)s, %(above)s) AS again;

-- name: inbox_ends
SELECT project, name, generation, numbered AS number FROM syndic.inboxes AS box
 WHERE closed_at IS NULL AND numbered > 0
   AND EXISTS (SELECT FROM syndic.messages AS m WHERE (m.project, m.target) = (box.project, box.name)
                  AND m.read_by_step IS NULL AND m.buried_at IS NULL)
   AND NOT EXISTS (SELECT FROM syndic.messages AS m WHERE (m.project, m.target) = (box.project, box.name)
                      AND m.delivered_at IS NULL)
 ORDER BY project, name;

-- name: inbox
SELECT n, position, id, project, source, target, type, payload::text AS payload, correlation, schema_version, at, read_by_step,
       generation, number, delivered_at, buried_at
  FROM jsonb_array_elements(%(asked)s::jsonb) WITH ORDINALITY AS asked (a, n), LATERAL (
       SELECT * FROM syndic.messages
        WHERE project = a ->> 'project' AND target = a ->> 'agent' AND read_by_step IS NULL AND buried_at IS NULL) AS unread
 ORDER BY n, position;

-- name: conversation
SELECT position, id, project, source, target, type, payload::text AS payload, correlation, schema_version, at, read_by_step, generation,
       number, delivered_at, buried_at
  FROM syndic.messages
 WHERE project = %(project)s AND position > %(after)s AND (%(agent)s::text IS NULL OR %(agent)s IN (source, target))
 ORDER BY position LIMIT %(limit)s;

-- name: hold_inbox
SELECT epoch, holder, seconds_left
  FROM syndic.hold_inbox(%(project)s, %(inbox)s, %(consumer)s, %(holder)s, %(now)s, %(ttl)s);

-- name: leave_inbox
SELECT syndic.leave_inbox(%(project)s, %(inbox)s, %(consumer)s, %(holder)s, %(now)s);

-- name: consumers
SELECT consumer FROM syndic.consumers
 WHERE project = %(project)s AND inbox = %(inbox)s AND expires_at > %(now)s ORDER BY consumer;

-- name: bury
SELECT syndic.bury(%(letters)s::jsonb, %(now)s) AS buried;

-- name: dead_letters
SELECT id, project, inbox, reason, deliveries, body, is_message, at, settled, settled_by, settled_at FROM syndic.dead_letters
 WHERE (%(project)s::text IS NULL OR project = %(project)s) AND (%(settled)s OR settled IS NULL) ORDER BY at, id;

-- name: settle_letter
SELECT syndic.settle_letter(%(id)s, %(how)s, %(by)s, %(now)s) AS refusal;

-- name: listen
LISTEN syndic_outbox;

-- name: take_turn
SELECT pg_try_advisory_lock(1398361670, 1) AS taken;
