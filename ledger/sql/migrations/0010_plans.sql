-- Plans of the functions that every run calls.
--
-- A connection keeps the plan that it made first, and the first calls of a young system meet tables of a few rows, where reading
-- all of them looks cheapest. Each of these statements names its rows by a key, so that no other plan than the index can be right.

ALTER FUNCTION syndic.apply(jsonb, timestamptz) SET enable_seqscan = off;
ALTER FUNCTION syndic.record(jsonb) SET enable_seqscan = off;
ALTER FUNCTION syndic.acquire_lease(jsonb, text, timestamptz, interval) SET enable_seqscan = off;
