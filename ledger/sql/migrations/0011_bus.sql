-- The bus: inboxes that open, fill and close; numbers by which no two relays reorder an inbox; consumers' leases; dead letters.

CREATE TABLE syndic.inboxes (
    project text NOT NULL,
    name text NOT NULL,
    capacity integer NOT NULL DEFAULT 1000 CHECK (capacity > 0),
    generation bigint NOT NULL DEFAULT 1,
    numbered bigint NOT NULL DEFAULT 0,
    opened_at timestamptz NOT NULL,
    closed_at timestamptz,
    reason text,
    PRIMARY KEY (project, name)
);
COMMENT ON TABLE syndic.inboxes IS 'Who can be written to: an agent from its first lease or its spawn on, until it has finished. * and team are the project''s own streams.';
COMMENT ON COLUMN syndic.inboxes.capacity IS 'Unread messages at most; more are refused to their sender.';
COMMENT ON COLUMN syndic.inboxes.generation IS 'First half of the ids in its stream; grows whenever Redis has lost something of it.';
COMMENT ON COLUMN syndic.inboxes.numbered IS 'The last number given in this generation: second half of the ids.';

CREATE TABLE syndic.consumers (
    project text NOT NULL,
    inbox text NOT NULL,
    consumer text NOT NULL,
    holder text NOT NULL,
    epoch bigint NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (project, inbox, consumer)
);
COMMENT ON TABLE syndic.consumers IS 'Leases of the consumers of the inboxes'' groups: one process may read under a name at a time.';

CREATE TABLE syndic.dead_letters (
    id text PRIMARY KEY,
    project text NOT NULL,
    inbox text NOT NULL,
    reason text NOT NULL,
    deliveries integer NOT NULL,
    body text NOT NULL,
    is_message boolean NOT NULL,
    at timestamptz NOT NULL,
    settled text CHECK (settled IN ('replayed', 'dropped')),
    settled_by text,
    settled_at timestamptz
);
COMMENT ON TABLE syndic.dead_letters IS 'What could not be delivered or read, and why; settled by `syndic dlq replay` or `drop`.';
COMMENT ON COLUMN syndic.dead_letters.is_message IS 'False: an entry of a stream that never was a message; it can only be dropped.';
CREATE INDEX dead_letters_open ON syndic.dead_letters (project, at) WHERE settled IS NULL;

ALTER TABLE syndic.messages
    ADD COLUMN schema_version integer NOT NULL DEFAULT 1,
    ADD COLUMN generation bigint,
    ADD COLUMN number bigint,
    ADD COLUMN buried_at timestamptz;
COMMENT ON COLUMN syndic.messages.number IS 'generation-number is its entry''s id in the stream of its inbox.';
COMMENT ON COLUMN syndic.messages.buried_at IS 'It lies among the dead letters, unread.';
CREATE INDEX messages_conversation ON syndic.messages (project, position);

CREATE FUNCTION syndic.message_limits(OUT payload_bytes integer) LANGUAGE sql IMMUTABLE AS 'SELECT 65536';
COMMENT ON FUNCTION syndic.message_limits IS 'Internal: ledger/messages.py has the same number.';

CREATE FUNCTION syndic.lock_delivery() RETURNS void LANGUAGE sql AS $$
    -- 1398361670 is a class of locks of its own: numbers are given by one relay at a time.
    SELECT pg_advisory_xact_lock(1398361670, 0)
$$;

-- Inboxes.

CREATE FUNCTION syndic.open_inbox(p_project text, p_name text, p_capacity integer, p_reopen boolean, p_now timestamptz)
RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
    INSERT INTO inboxes (project, name, capacity, opened_at) VALUES (p_project, p_name, coalesce(p_capacity, 1000), p_now)
    ON CONFLICT (project, name) DO UPDATE
       SET capacity = coalesce(p_capacity, inboxes.capacity),
           closed_at = CASE WHEN p_reopen THEN NULL ELSE inboxes.closed_at END,
           reason = CASE WHEN p_reopen THEN NULL ELSE inboxes.reason END
     WHERE p_reopen AND inboxes.closed_at IS NOT NULL OR p_capacity <> inboxes.capacity
$$;
COMMENT ON FUNCTION syndic.open_inbox IS 'An agent can be written to; a finished one again only where that is asked for.';

CREATE FUNCTION syndic.open_with_lease() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM syndic.open_inbox(NEW.project, NEW.agent, NULL, true, clock_timestamp());
    RETURN NULL;
END $$;
CREATE TRIGGER open_inbox AFTER UPDATE OF epoch ON syndic.threads
    FOR EACH ROW WHEN (NEW.holder IS NOT NULL) EXECUTE FUNCTION syndic.open_with_lease();
INSERT INTO syndic.inboxes (project, name, opened_at)
SELECT project, agent, now() FROM syndic.threads UNION SELECT project, target, now() FROM syndic.messages;

CREATE FUNCTION syndic.refuses(m jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    box syndic.inboxes;
    size integer := octet_length(m ->> 'payload');
BEGIN
    IF EXISTS (SELECT FROM syndic.messages WHERE id = m ->> 'id') THEN
        RETURN NULL;
    ELSIF size > (syndic.message_limits()) THEN
        RETURN format('a payload of %s bytes is over the limit of %s; keep it as an artifact and send its reference',
                      size, syndic.message_limits());
    ELSIF m ->> 'target' = '*' THEN
        RETURN NULL;
    END IF;
    FOR box IN SELECT * FROM syndic.inboxes
                WHERE project = m ->> 'project' AND (name = m ->> 'target' OR m ->> 'target' = 'team' AND closed_at IS NULL
                                                     AND name NOT IN ('*', 'team', m ->> 'source'))
                ORDER BY name FOR KEY SHARE LOOP
        IF box.closed_at IS NOT NULL THEN
            RETURN format('%s has finished: %s', box.name, box.reason);
        ELSIF EXISTS (SELECT FROM syndic.messages
                       WHERE project = box.project AND target = box.name AND read_by_step IS NULL AND buried_at IS NULL
                      OFFSET box.capacity - 1 LIMIT 1) AND box.name <> 'team' THEN
            RETURN format('the inbox of %s is full: %s unread messages; wait until some are read', box.name, box.capacity);
        END IF;
    END LOOP;
    IF NOT FOUND AND m ->> 'target' <> 'team' THEN
        RETURN format('there is no agent %s in project %s', m ->> 'target', m ->> 'project');
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION syndic.refuses IS 'Internal: why a message cannot be sent, or NULL. The inbox stays as it is until the transaction ends.';

CREATE OR REPLACE FUNCTION syndic.put_messages(p_messages jsonb, p_now timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    m jsonb;
BEGIN
    FOR m IN SELECT jsonb_array_elements(p_messages) LOOP
        INSERT INTO syndic.messages (id, project, source, target, type, payload, correlation, schema_version, at)
        VALUES (m ->> 'id', m ->> 'project', m ->> 'source', m ->> 'target', m ->> 'type', (m ->> 'payload')::json,
                m ->> 'correlation', coalesce((m ->> 'schema_version')::integer, 1), p_now)
        ON CONFLICT (id) DO NOTHING;
        CONTINUE WHEN NOT FOUND;
        PERFORM pg_notify('syndic_outbox', '');
        IF m ->> 'target' IN ('*', 'team') THEN
            PERFORM syndic.open_inbox(m ->> 'project', m ->> 'target', NULL, false, p_now);
        END IF;
        IF m ->> 'target' = 'team' THEN
            INSERT INTO syndic.messages (id, project, source, target, type, payload, correlation, schema_version, at)
            SELECT format('%s/to/%s', m ->> 'id', box.name), box.project, m ->> 'source', box.name, m ->> 'type',
                   (m ->> 'payload')::json, m ->> 'correlation', coalesce((m ->> 'schema_version')::integer, 1), p_now
              FROM syndic.inboxes AS box
             WHERE box.project = m ->> 'project' AND box.closed_at IS NULL AND box.name NOT IN ('*', 'team', m ->> 'source')
             ORDER BY box.name
            ON CONFLICT (id) DO NOTHING;
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION syndic.put_messages IS 'Internal: rows of the outbox; a message for the team gets a row for each open inbox too.';

CREATE FUNCTION syndic.park_messages(p_messages jsonb, p_now timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    m jsonb;
    refusal text;
BEGIN
    FOR m IN SELECT jsonb_array_elements(p_messages) LOOP
        refusal := syndic.refuses(m);
        PERFORM syndic.put_messages(jsonb_build_array(m), p_now);
        IF refusal IS NOT NULL THEN
            PERFORM syndic.bury(jsonb_build_array(jsonb_build_object(
                'id', m ->> 'id', 'project', m ->> 'project', 'inbox', m ->> 'target', 'reason', refusal, 'deliveries', 0,
                'body', m ->> 'payload', 'is_message', true)), p_now);
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION syndic.park_messages IS 'Internal: for senders that cannot be told; what is refused becomes a dead letter.';

DROP FUNCTION syndic.post(jsonb, timestamptz);
CREATE FUNCTION syndic.post(p_messages jsonb, p_park boolean, p_now timestamptz) RETURNS SETOF syndic.messages
LANGUAGE plpgsql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
DECLARE
    m jsonb;
    refusal text;
BEGIN
    IF p_park THEN
        PERFORM syndic.park_messages(p_messages, p_now);
    ELSE
        FOR m IN SELECT jsonb_array_elements(p_messages) LOOP
            refusal := syndic.refuses(m);
            IF refusal IS NOT NULL THEN
                RAISE EXCEPTION '%', refusal USING ERRCODE = 'SY002';
            END IF;
        END LOOP;
        PERFORM syndic.put_messages(p_messages, p_now);
    END IF;
    RETURN QUERY SELECT kept.* FROM jsonb_array_elements(p_messages) WITH ORDINALITY AS n (m, i)
        JOIN messages AS kept ON kept.id = n.m ->> 'id' ORDER BY i;
END $$;
COMMENT ON FUNCTION syndic.post IS 'Write to the outbox; SY002: one of them cannot be sent, and none was written.';

CREATE FUNCTION syndic.close_inbox(p_project text, p_name text, p_reason text, p_now timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
DECLARE
    left_over jsonb;
BEGIN
    -- A stronger lock than senders take: whoever sends is in before this, or is refused after it.
    PERFORM FROM inboxes WHERE project = p_project AND (p_name IS NULL OR name = p_name) ORDER BY name FOR UPDATE;
    UPDATE inboxes SET closed_at = p_now, reason = p_reason
     WHERE project = p_project AND (p_name IS NULL OR name = p_name) AND closed_at IS NULL;
    left_over := (SELECT jsonb_agg(jsonb_build_object(
            'id', m.id, 'project', m.project, 'inbox', m.target, 'deliveries', 0, 'is_message', true,
            'reason', format('%s had finished before it was read: %s', m.target, p_reason), 'body', m.payload::text))
          FROM messages AS m
         WHERE m.project = p_project AND (p_name IS NULL OR m.target = p_name) AND m.target NOT IN ('*', 'team')
           AND m.read_by_step IS NULL AND m.buried_at IS NULL);
    IF left_over IS NULL THEN
        RETURN 0;
    END IF;
    RETURN syndic.bury(left_over, p_now);
END $$;
COMMENT ON FUNCTION syndic.close_inbox IS 'The agent (all of the project where it is NULL) has finished; what nobody read is a dead letter.';

-- Steps: a message is read by one step, and a step whose message cannot be sent is not written.

CREATE OR REPLACE FUNCTION syndic.attach(i jsonb, p_now timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF i ? 'entries' THEN
        PERFORM syndic.append_all(i -> 'entries');
    END IF;
    IF i ? 'outbox' THEN
        -- An answer that was paid for is never refused for the sake of a message.
        IF i ->> 'kind' = 'model' THEN
            PERFORM syndic.park_messages(i -> 'outbox', p_now);
        ELSE
            PERFORM syndic.put_messages(i -> 'outbox', p_now);
        END IF;
    END IF;
    IF i ? 'acknowledged' THEN
        UPDATE syndic.messages
           SET read_by_step = format('%s#%s.%s', i ->> 'thread', i ->> 'ordinal', i ->> 'sub')
         WHERE id IN (SELECT jsonb_array_elements_text(i -> 'acknowledged')) AND read_by_step IS NULL AND buried_at IS NULL;
    END IF;
END $$;

CREATE FUNCTION syndic.refusal_of_mail(i jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    kept record;
    m jsonb;
    refusal text;
BEGIN
    IF i ? 'acknowledged' THEN
        FOR kept IN SELECT id, read_by_step, buried_at FROM syndic.messages
                     WHERE id IN (SELECT jsonb_array_elements_text(i -> 'acknowledged')) ORDER BY position FOR NO KEY UPDATE LOOP
            IF kept.read_by_step IS NOT NULL THEN
                RETURN syndic.answer('taken', format('message %s was read by step %s', kept.id, kept.read_by_step));
            ELSIF kept.buried_at IS NOT NULL THEN
                RETURN syndic.answer('taken', format('message %s lies among the dead letters', kept.id));
            END IF;
        END LOOP;
    END IF;
    IF i ? 'outbox' THEN
        FOR m IN SELECT jsonb_array_elements(i -> 'outbox') LOOP
            -- What a step writes and reads at once, such as its own assignment, takes no room.
            CONTINUE WHEN coalesce(i -> 'acknowledged' ? (m ->> 'id'), false);
            refusal := syndic.refuses(m);
            IF refusal IS NOT NULL THEN
                RETURN syndic.answer('undeliverable', refusal);
            END IF;
        END LOOP;
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION syndic.refusal_of_mail IS 'Internal: why a step cannot be written because of its messages, or NULL.';

CREATE OR REPLACE FUNCTION syndic.apply_plain_receipt(i jsonb, t syndic.threads, s syndic.steps, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    halt text;
    refusal jsonb;
BEGIN
    IF t.epoch <> (i ->> 'epoch')::bigint THEN
        RETURN syndic.answer('lost_lease', format('thread %s is at epoch %s', t.thread, t.epoch));
    ELSIF s.kind IS NOT NULL THEN
        IF s.kind <> i ->> 'kind' OR s.request_digest <> i ->> 'request_digest' THEN
            RETURN syndic.answer('diverged', format('step %s.%s was %s %s', s.ordinal, s.sub, s.kind, s.request_digest));
        END IF;
        RETURN syndic.answer_with('served', s);
    ELSIF i ->> 'kind' = 'tool' THEN
        halt := syndic.halted_by(t);
        IF halt IS NOT NULL THEN
            RETURN syndic.answer('halted', halt);
        END IF;
    END IF;
    refusal := syndic.refusal_of_mail(i);
    IF refusal IS NOT NULL THEN
        RETURN refusal;
    END IF;
    INSERT INTO syndic.steps (thread, ordinal, sub, kind, name, request_digest, status, result, model, usage, cost_usd,
                              commit, worker, epoch, started_at, finished_at)
    VALUES (t.thread, (i ->> 'ordinal')::integer, (i ->> 'sub')::integer, i ->> 'kind', i ->> 'name', i ->> 'request_digest',
            i ->> 'status', (i ->> 'result')::json, i ->> 'model', nullif(i -> 'usage', 'null'),
            (i ->> 'cost_usd')::numeric, i ->> 'commit', i ->> 'worker', t.epoch, p_now, p_now)
    RETURNING * INTO s;
    PERFORM syndic.attach(i, p_now);
    RETURN syndic.answer_with('ok', s);
END $$;

-- Delivery.

CREATE FUNCTION syndic.undelivered(p_limit integer) RETURNS SETOF syndic.messages
LANGUAGE plpgsql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM messages WHERE delivered_at IS NULL AND number IS NULL) THEN
        PERFORM syndic.lock_delivery();
        WITH fresh AS (
            SELECT m.position, box.generation,
                   box.numbered + row_number() OVER (PARTITION BY m.project, m.target ORDER BY m.position) AS number
              FROM messages AS m JOIN inboxes AS box ON (box.project, box.name) = (m.project, m.target)
             WHERE m.delivered_at IS NULL AND m.number IS NULL
        ), given AS (
            UPDATE messages AS m SET generation = fresh.generation, number = fresh.number
              FROM fresh WHERE m.position = fresh.position RETURNING m.project, m.target, m.number
        )
        UPDATE inboxes AS box SET numbered = last.number
          FROM (SELECT project, target, max(number) AS number FROM given GROUP BY 1, 2) AS last
         WHERE (box.project, box.name) = (last.project, last.target);
    END IF;
    RETURN QUERY SELECT * FROM messages WHERE delivered_at IS NULL AND number IS NOT NULL ORDER BY number, position LIMIT p_limit;
END $$;
COMMENT ON FUNCTION syndic.undelivered IS 'What the relay has not handed to Redis; numbers are given here, in the order in which rows were written.';

DROP FUNCTION syndic.mark_delivered(text[], timestamptz);
CREATE FUNCTION syndic.mark_delivered(p_ids text[], p_generation bigint, p_now timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
    UPDATE messages SET delivered_at = p_now
     WHERE id = ANY (p_ids) AND delivered_at IS NULL AND (p_generation IS NULL OR generation = p_generation)
$$;

DROP FUNCTION syndic.redeliver();
CREATE FUNCTION syndic.redeliver(p_project text, p_name text, p_generation bigint, p_above bigint) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
DECLARE
    again integer;
BEGIN
    PERFORM syndic.lock_delivery();
    WITH renewed AS (
        UPDATE inboxes AS box SET generation = greatest(box.generation, coalesce(p_above, 0)) + 1, numbered = 0
         WHERE (p_project IS NULL OR box.project = p_project) AND (p_name IS NULL OR box.name = p_name)
           AND (p_generation IS NULL OR box.generation = p_generation)
           AND (p_name IS NOT NULL OR box.numbered > 0)
        RETURNING box.project, box.name
    ), reset AS (
        UPDATE messages AS m SET delivered_at = NULL, generation = NULL, number = NULL
          FROM renewed, messages AS before
         WHERE (m.project, m.target) = (renewed.project, renewed.name) AND before.position = m.position
           AND (m.delivered_at IS NULL OR m.read_by_step IS NULL AND m.buried_at IS NULL)
        RETURNING before.delivered_at IS NOT NULL AS was_delivered
    )
    SELECT count(*) FILTER (WHERE was_delivered) INTO again FROM reset;
    IF again > 0 THEN
        PERFORM pg_notify('syndic_outbox', '');
    END IF;
    RETURN again;
END $$;
COMMENT ON FUNCTION syndic.redeliver IS 'Redis has lost something of these inboxes: what nobody has read, and what is on its way, gets new numbers in a new generation.';

-- Consumers.

CREATE FUNCTION syndic.hold_inbox(p_project text, p_inbox text, p_consumer text, p_holder text, p_now timestamptz, p_ttl interval)
RETURNS TABLE (epoch bigint, holder text, seconds_left double precision)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
DECLARE
    c syndic.consumers;
BEGIN
    INSERT INTO consumers AS n VALUES (p_project, p_inbox, p_consumer, p_holder, 0, p_now)
    ON CONFLICT (project, inbox, consumer) DO NOTHING;
    SELECT * INTO c FROM consumers AS n
     WHERE (n.project, n.inbox, n.consumer) = (p_project, p_inbox, p_consumer) FOR NO KEY UPDATE;
    IF c.holder <> p_holder AND c.expires_at > p_now THEN
        RETURN QUERY SELECT c.epoch, c.holder, extract(epoch FROM c.expires_at - p_now)::double precision;
        RETURN;
    END IF;
    RETURN QUERY UPDATE consumers AS n
        SET epoch = n.epoch + (n.holder <> p_holder OR n.epoch = 0 OR n.expires_at <= p_now)::integer, holder = p_holder,
            expires_at = p_now + p_ttl
      WHERE (n.project, n.inbox, n.consumer) = (p_project, p_inbox, p_consumer)
  RETURNING n.epoch, n.holder, NULL::double precision;
END $$;
COMMENT ON FUNCTION syndic.hold_inbox IS 'Take or renew; seconds_left is NULL where it is held by the asker, else it is who holds it, and how long.';

CREATE FUNCTION syndic.leave_inbox(p_project text, p_inbox text, p_consumer text, p_holder text, p_now timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
    UPDATE consumers SET expires_at = p_now
     WHERE (project, inbox, consumer, holder) = (p_project, p_inbox, p_consumer, p_holder)
$$;

-- Dead letters.

CREATE FUNCTION syndic.bury(p_letters jsonb, p_now timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
DECLARE
    l jsonb;
    number integer := 0;
BEGIN
    FOR l IN SELECT jsonb_array_elements(p_letters) LOOP
        IF (l ->> 'is_message')::boolean THEN
            UPDATE messages SET buried_at = p_now, delivered_at = coalesce(delivered_at, p_now)
             WHERE id = l ->> 'id' AND read_by_step IS NULL AND buried_at IS NULL;
            CONTINUE WHEN NOT FOUND;
        END IF;
        INSERT INTO dead_letters (id, project, inbox, reason, deliveries, body, is_message, at)
        VALUES (l ->> 'id', l ->> 'project', l ->> 'inbox', l ->> 'reason', (l ->> 'deliveries')::integer, l ->> 'body',
                (l ->> 'is_message')::boolean, p_now)
        ON CONFLICT (id) DO UPDATE
           SET reason = excluded.reason, deliveries = excluded.deliveries, at = excluded.at, settled = NULL,
               settled_by = NULL, settled_at = NULL
         WHERE excluded.is_message;
        number := number + 1;
    END LOOP;
    RETURN number;
END $$;
COMMENT ON FUNCTION syndic.bury IS 'Put aside with a reason; a message that a step has read stays read.';

CREATE FUNCTION syndic.settle_letter(p_id text, p_how text, p_by text, p_now timestamptz) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
DECLARE
    l dead_letters;
    box inboxes;
BEGIN
    SELECT * INTO l FROM dead_letters WHERE id = p_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 'there is no such dead letter';
    ELSIF l.settled IS NOT NULL THEN
        RETURN format('it was %s by %s', l.settled, l.settled_by);
    ELSIF p_how = 'replayed' THEN
        IF NOT l.is_message THEN
            RETURN 'it never was a message of ours and cannot be delivered; drop it';
        END IF;
        SELECT * INTO box FROM inboxes WHERE project = l.project AND name = l.inbox FOR KEY SHARE;
        IF NOT FOUND THEN
            RETURN format('there is no agent %s in project %s', l.inbox, l.project);
        ELSIF box.closed_at IS NOT NULL THEN
            RETURN format('%s has finished: %s', box.name, box.reason);
        END IF;
        UPDATE messages SET buried_at = NULL, delivered_at = NULL, generation = NULL, number = NULL WHERE id = p_id;
        PERFORM pg_notify('syndic_outbox', '');
    END IF;
    UPDATE dead_letters SET settled = p_how, settled_by = p_by, settled_at = p_now WHERE id = p_id;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION syndic.settle_letter IS 'Deliver it again or drop it; returns why not, or NULL.';

-- As in 0010: plans that were made while the tables were young must stay right.
ALTER FUNCTION syndic.undelivered(integer) SET enable_seqscan = off;
ALTER FUNCTION syndic.mark_delivered(text[], bigint, timestamptz) SET enable_seqscan = off;
ALTER FUNCTION syndic.post(jsonb, boolean, timestamptz) SET enable_seqscan = off;

CREATE VIEW syndic.unread AS
SELECT m.project, m.target, count(*) AS messages, min(m.at) AS oldest, count(*) FILTER (WHERE m.delivered_at IS NULL) AS undelivered
  FROM syndic.messages AS m
 WHERE m.read_by_step IS NULL AND m.buried_at IS NULL AND m.target NOT IN ('*', 'team') GROUP BY 1, 2 ORDER BY 1, 2;
COMMENT ON VIEW syndic.unread IS 'Inboxes that hold something.';

REVOKE ALL ON FUNCTION syndic.message_limits, syndic.lock_delivery, syndic.open_inbox, syndic.open_with_lease, syndic.refuses,
    syndic.park_messages, syndic.post, syndic.close_inbox, syndic.refusal_of_mail, syndic.undelivered, syndic.mark_delivered,
    syndic.redeliver, syndic.hold_inbox, syndic.leave_inbox, syndic.bury, syndic.settle_letter FROM PUBLIC;
GRANT SELECT ON syndic.inboxes, syndic.consumers, syndic.dead_letters, syndic.unread TO syndic_worker;
GRANT EXECUTE ON FUNCTION syndic.open_inbox, syndic.post, syndic.close_inbox, syndic.undelivered, syndic.mark_delivered,
    syndic.redeliver, syndic.hold_inbox, syndic.leave_inbox, syndic.bury, syndic.settle_letter TO syndic_worker;
