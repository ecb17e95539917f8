-- Tables of the record. Whoever applies the migrations owns them; workers belong to the role syndic_worker, which reads
-- everything and writes through functions alone (0006_grants.sql).

COMMENT ON TABLE syndic.migrations IS 'What was applied, with the SHA-256 of each file.';

CREATE TABLE syndic.entries (
    project text NOT NULL,
    seq bigint NOT NULL CHECK (seq > 0),
    key text NOT NULL,
    kind text NOT NULL,
    at timestamptz NOT NULL,
    payload text NOT NULL,
    prev text NOT NULL,
    hash text NOT NULL,
    PRIMARY KEY (project, seq),
    UNIQUE (project, key)
);
COMMENT ON TABLE syndic.entries IS 'The ledger: one append-only hash chain a project. Bodies are readable in the view syndic.ledger.';
COMMENT ON COLUMN syndic.entries.key IS 'Idempotency key: a second entry with the same key is the first one again.';
COMMENT ON COLUMN syndic.entries.payload IS 'Canonical JSON of at, body, key, kind and project, kept byte for byte.';
COMMENT ON COLUMN syndic.entries.hash IS 'sha256(prev LF seq LF payload) in hex; prev of the first entry is 64 zeros.';
CREATE INDEX entries_first ON syndic.entries (project) WHERE seq = 1;

CREATE TABLE syndic.threads (
    thread text PRIMARY KEY,
    project text NOT NULL,
    sprint integer NOT NULL,
    task text NOT NULL,
    role text NOT NULL,
    agent text NOT NULL,
    budget_scope text NOT NULL,
    budget_path text[] NOT NULL,
    prompt_version text NOT NULL,
    epoch bigint NOT NULL,
    holder text,
    expires_at timestamptz
);
COMMENT ON TABLE syndic.threads IS 'One agent run''s lineage, and the lease on it.';
COMMENT ON COLUMN syndic.threads.budget_path IS 'The budget scope and all its ancestors, root first.';
COMMENT ON COLUMN syndic.threads.epoch IS 'Fencing number: grows with every lease; every write names it.';
COMMENT ON COLUMN syndic.threads.holder IS 'The worker run that holds the lease; NULL when nobody does.';
CREATE INDEX threads_by_project ON syndic.threads (project);

-- No foreign keys on steps and attempts: only syndic.apply writes them, thread and step in hand, and it is the hot path.
CREATE TABLE syndic.steps (
    thread text NOT NULL,
    ordinal integer NOT NULL CHECK (ordinal >= 0),
    sub integer NOT NULL CHECK (sub >= 0),
    kind text NOT NULL CHECK (kind IN ('model', 'tool', 'input')),
    name text NOT NULL,
    request_digest text NOT NULL,
    status text NOT NULL CHECK (status IN ('reserved', 'done', 'failed', 'in_doubt')),
    result json,
    model text,
    usage jsonb,
    cost_usd numeric(18, 9) NOT NULL DEFAULT 0 CHECK (cost_usd >= 0),
    commit text,
    worker text NOT NULL,
    epoch bigint NOT NULL,
    attempt integer NOT NULL DEFAULT 1,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    PRIMARY KEY (thread, ordinal, sub)
);
COMMENT ON TABLE syndic.steps IS 'The journal: every model call, tool call and input of a thread. A run is resumed by being served from here.';
COMMENT ON COLUMN syndic.steps.request_digest IS 'SHA-256 of the request without the model''s name; a difference means that the code changed.';
COMMENT ON COLUMN syndic.steps.status IS 'A failed model step is open for another attempt; a failed tool or input step is a result.';
COMMENT ON COLUMN syndic.steps.result IS 'json, not jsonb: it keeps the order of keys and whatever bytes a program printed.';
COMMENT ON COLUMN syndic.steps.commit IS 'The worktree''s commit after the step, where it changed files.';

CREATE TABLE syndic.attempts (
    thread text NOT NULL,
    ordinal integer NOT NULL,
    sub integer NOT NULL,
    attempt integer NOT NULL,
    epoch bigint NOT NULL,
    name text NOT NULL,
    request_digest text NOT NULL,
    bound_usd numeric(18, 9) NOT NULL CHECK (bound_usd >= 0),
    state text NOT NULL CHECK (state IN ('reserved', 'done', 'failed', 'in_doubt')),
    cost_usd numeric(18, 9) NOT NULL DEFAULT 0 CHECK (cost_usd >= 0),
    model text,
    usage jsonb,
    worker text NOT NULL,
    asked_at timestamptz NOT NULL,
    settled_at timestamptz,
    PRIMARY KEY (thread, ordinal, sub, attempt)
);
COMMENT ON TABLE syndic.attempts IS 'Every time a model was asked. Reserved and in-doubt attempts are charged at their bound, settled ones at true cost.';
CREATE INDEX attempts_open ON syndic.attempts (thread) WHERE state IN ('reserved', 'in_doubt');

-- Rows are rewritten by every model call: room on the page keeps those updates out of the index.
CREATE TABLE syndic.budgets (
    scope text PRIMARY KEY,
    depth integer NOT NULL,
    limit_usd numeric(18, 9) CHECK (limit_usd >= 0),
    reserved_usd numeric(18, 9) NOT NULL DEFAULT 0 CHECK (reserved_usd >= 0),
    spent_usd numeric(18, 9) NOT NULL DEFAULT 0 CHECK (spent_usd >= 0),
    violated boolean NOT NULL DEFAULT false
) WITH (fillfactor = 20);
COMMENT ON TABLE syndic.budgets IS 'The budget tree project > sprint > task; a reservation stands on a scope and on all its ancestors.';
COMMENT ON COLUMN syndic.budgets.limit_usd IS 'NULL: only the ancestors limit it.';
COMMENT ON COLUMN syndic.budgets.violated IS 'A provider billed more than was reserved; nothing is reserved below until a person raises the budget.';

CREATE TABLE syndic.artifacts (
    digest text PRIMARY KEY,
    media_type text NOT NULL,
    content bytea NOT NULL
);
COMMENT ON TABLE syndic.artifacts IS 'Documents, addressed by the SHA-256 of their bytes.';

CREATE TABLE syndic.standings (
    subject text PRIMARY KEY,
    standing text NOT NULL CHECK (standing IN ('active', 'paused', 'revoked', 'cancelled')),
    reason text NOT NULL,
    at timestamptz NOT NULL
);
COMMENT ON TABLE syndic.standings IS 'Who may start new steps: a project, project/s<n>, project/s<n>/task or an agent id; no row means active.';

CREATE TABLE syndic.messages (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL UNIQUE,
    project text NOT NULL,
    source text NOT NULL,
    target text NOT NULL,
    type text NOT NULL,
    payload json NOT NULL,
    correlation text,
    at timestamptz NOT NULL,
    delivered_at timestamptz,
    read_by_step text
);
COMMENT ON TABLE syndic.messages IS 'Outbox and inbox: what agents tell each other; Redis delivers, this keeps.';
COMMENT ON COLUMN syndic.messages.read_by_step IS 'thread#ordinal.sub of the input step that read it.';
CREATE INDEX messages_undelivered ON syndic.messages (position) WHERE delivered_at IS NULL;
CREATE INDEX messages_unread ON syndic.messages (project, target, position) WHERE read_by_step IS NULL;
