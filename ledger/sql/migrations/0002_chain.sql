-- The hash chain. Appending is the only thing that can be done to it.

CREATE FUNCTION syndic.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: % refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON syndic.entries
    FOR EACH STATEMENT EXECUTE FUNCTION syndic.refuse_change();

CREATE FUNCTION syndic.lock_chains(p_projects text[]) RETURNS void LANGUAGE sql AS $$
    -- 1398361668 spells "SYND". Locks are taken in the order of their keys, whoever takes them.
    SELECT pg_advisory_xact_lock(1398361668, number)
      FROM (SELECT DISTINCT hashtext(project) AS number FROM unnest(p_projects) AS project ORDER BY number) AS numbers
$$;
COMMENT ON FUNCTION syndic.lock_chains IS 'Holds the ends of these chains until the transaction ends.';

CREATE FUNCTION syndic.append(p_project text, p_key text, p_kind text, p_at timestamptz, p_payload text)
RETURNS syndic.entries LANGUAGE plpgsql AS $$
DECLARE
    found_entry syndic.entries;
    last record;
    next_seq bigint;
    prev text;
BEGIN
    SELECT * INTO found_entry FROM syndic.entries WHERE project = p_project AND key = p_key;
    IF FOUND THEN
        IF found_entry.kind <> p_kind OR (found_entry.payload::json -> 'body')::text <> (p_payload::json -> 'body')::text THEN
            RAISE EXCEPTION 'entry % of project % exists with another kind or body', p_key, p_project USING ERRCODE = 'SY001';
        END IF;
        RETURN found_entry;
    END IF;
    SELECT e.seq, e.hash INTO last FROM syndic.entries AS e WHERE e.project = p_project ORDER BY e.seq DESC LIMIT 1;
    next_seq := coalesce(last.seq, 0) + 1;
    prev := coalesce(last.hash, repeat('0', 64));
    INSERT INTO syndic.entries VALUES (
        p_project, next_seq, p_key, p_kind, p_at, p_payload, prev,
        encode(sha256(convert_to(prev || E'\n' || next_seq || E'\n' || p_payload, 'UTF8')), 'hex'))
    RETURNING * INTO found_entry;
    RETURN found_entry;
END $$;
COMMENT ON FUNCTION syndic.append IS 'Internal. The caller holds syndic.lock_chains and made the payload canonical.';

CREATE FUNCTION syndic.append_all(p_entries jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    entry jsonb;
BEGIN
    FOR entry IN SELECT jsonb_array_elements(p_entries) LOOP
        PERFORM syndic.append(entry ->> 'project', entry ->> 'key', entry ->> 'kind', (entry ->> 'at')::timestamptz,
                              entry ->> 'payload');
    END LOOP;
END $$;

CREATE FUNCTION syndic.append_own(p_project text, p_key text, p_kind text, p_at timestamptz, p_body text)
RETURNS void LANGUAGE sql AS $$
    -- Members in sorted order: this is the canonical form of ledger/chain.py.
    SELECT syndic.append(p_project, p_key, p_kind, p_at, format(
        '{"at":"%s","body":%s,"key":%s,"kind":"%s","project":%s}',
        to_char(p_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        p_body, to_json(p_key), p_kind, to_json(p_project)))
$$;
COMMENT ON FUNCTION syndic.append_own IS 'Internal: an entry that the database itself makes; p_body is canonical JSON.';

CREATE FUNCTION syndic.record(p_entries jsonb) RETURNS SETOF syndic.entries
LANGUAGE plpgsql SECURITY DEFINER SET search_path = syndic, pg_temp AS $$
DECLARE
    entry jsonb;
BEGIN
    PERFORM syndic.lock_chains(ARRAY(SELECT e ->> 'project' FROM jsonb_array_elements(p_entries) AS e));
    FOR entry IN SELECT jsonb_array_elements(p_entries) LOOP
        RETURN QUERY SELECT * FROM syndic.append(entry ->> 'project', entry ->> 'key', entry ->> 'kind',
                                                 (entry ->> 'at')::timestamptz, entry ->> 'payload');
    END LOOP;
END $$;
COMMENT ON FUNCTION syndic.record IS 'Append in order; an entry whose key exists is returned as it stands. SY001: same key, other content.';
