-- Times are microseconds since 1970-01-01 UTC, durations microseconds.
--
-- Texts are compared byte by byte, as SQLite does: the order of ids must not depend on the language that
-- the database was made for.

CREATE TABLE tasks (
    id               TEXT    COLLATE "C" NOT NULL PRIMARY KEY,
    project          TEXT    COLLATE "C" NOT NULL,
    stream           TEXT    COLLATE "C" NOT NULL,
    kind             TEXT    COLLATE "C" NOT NULL,
    request          TEXT    COLLATE "C" NOT NULL, -- JSON, typed by kind
    timeout_us       BIGINT  NOT NULL,
    created_by       TEXT    COLLATE "C" NOT NULL,
    created_us       BIGINT  NOT NULL,
    concurrency_key  TEXT    COLLATE "C",          -- at most one running or leased task a key
    status           TEXT    COLLATE "C" NOT NULL,
    cancel_requested BOOLEAN NOT NULL DEFAULT FALSE,
    -- The claim: a worker's writes carry its attempt, a later claim makes them worthless.
    attempt          BIGINT  NOT NULL DEFAULT 0,
    lease_owner      TEXT    COLLATE "C",
    lease_until_us   BIGINT  NOT NULL DEFAULT 0,
    -- Identity of the place in which it was started; it is never started in another.
    place_uid        TEXT    COLLATE "C",
    last_seq         BIGINT  NOT NULL DEFAULT 0,
    started_us       BIGINT,
    ended_us         BIGINT,
    exit_code        INTEGER,
    reason           TEXT    COLLATE "C",
    message          TEXT    COLLATE "C",
    duration_us      BIGINT
) WITH (fillfactor = 70); -- room beside a row: last_seq changes with every append, and no index with it

CREATE UNIQUE INDEX tasks_by_stream ON tasks (project, stream);
CREATE INDEX tasks_by_project ON tasks (project, id);
-- Only unfinished tasks: claiming costs the same however many have ended.
CREATE INDEX tasks_unfinished ON tasks (id) WHERE status IN ('pending', 'running');
CREATE INDEX tasks_by_concurrency_key ON tasks (concurrency_key)
    WHERE concurrency_key IS NOT NULL AND status IN ('pending', 'running');
CREATE UNIQUE INDEX tasks_one_running_a_key ON tasks (concurrency_key) WHERE status = 'running';

-- The event log. An output entry holds whole frames of the runner. Positions are given before the commit:
-- whoever inserts holds the lock of the project, so that they become visible in their order.
CREATE TABLE events (
    position  BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id   TEXT    COLLATE "C" NOT NULL REFERENCES tasks (id),
    project   TEXT    COLLATE "C" NOT NULL,
    kind      TEXT    COLLATE "C" NOT NULL,
    first_seq BIGINT  NOT NULL,
    last_seq  BIGINT  NOT NULL,
    at_us     BIGINT  NOT NULL,
    body      BYTEA   NOT NULL
);

CREATE INDEX events_by_task ON events (task_id, position);
CREATE INDEX events_by_task_and_seq ON events (task_id, last_seq, position);
CREATE INDEX events_by_project ON events (project, position);

CREATE TABLE idempotency_keys (
    key_id      TEXT   COLLATE "C" NOT NULL,
    value       TEXT   COLLATE "C" NOT NULL,
    fingerprint BYTEA  NOT NULL, -- SHA-256 of the request
    task_id     TEXT   COLLATE "C",
    created_us  BIGINT NOT NULL,
    PRIMARY KEY (key_id, value)
);

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_us);
