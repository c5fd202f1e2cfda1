-- Times are microseconds since 1970-01-01 UTC, durations microseconds.

CREATE TABLE tasks (
    id               TEXT    NOT NULL PRIMARY KEY,
    project          TEXT    NOT NULL,
    stream           TEXT    NOT NULL,
    kind             TEXT    NOT NULL,
    request          TEXT    NOT NULL, -- JSON, typed by kind
    timeout_us       BIGINT  NOT NULL,
    created_by       TEXT    NOT NULL,
    created_us       BIGINT  NOT NULL,
    concurrency_key  TEXT,             -- at most one running or leased task a key
    status           TEXT    NOT NULL,
    cancel_requested BOOLEAN NOT NULL DEFAULT FALSE,
    -- The claim: a worker's writes carry its attempt, a later claim makes them worthless.
    attempt          BIGINT  NOT NULL DEFAULT 0,
    lease_owner      TEXT,
    lease_until_us   BIGINT  NOT NULL DEFAULT 0,
    -- Identity of the place in which it was started; it is never started in another.
    place_uid        TEXT,
    last_seq         BIGINT  NOT NULL DEFAULT 0,
    started_us       BIGINT,
    ended_us         BIGINT,
    exit_code        INTEGER,
    reason           TEXT,
    message          TEXT,
    duration_us      BIGINT
);

CREATE UNIQUE INDEX tasks_by_stream ON tasks (project, stream);
CREATE INDEX tasks_by_project ON tasks (project, id);
-- Only unfinished tasks: claiming costs the same however many have ended.
CREATE INDEX tasks_unfinished ON tasks (id) WHERE status IN ('pending', 'running');
CREATE INDEX tasks_by_concurrency_key ON tasks (concurrency_key)
    WHERE concurrency_key IS NOT NULL AND status IN ('pending', 'running');
CREATE UNIQUE INDEX tasks_one_running_a_key ON tasks (concurrency_key) WHERE status = 'running';

-- The event log. An output entry holds whole frames of the runner.
CREATE TABLE events (
    position  INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    task_id   TEXT    NOT NULL REFERENCES tasks (id),
    project   TEXT    NOT NULL,
    kind      TEXT    NOT NULL,
    first_seq BIGINT  NOT NULL,
    last_seq  BIGINT  NOT NULL,
    at_us     BIGINT  NOT NULL,
    body      BLOB    NOT NULL
);

CREATE INDEX events_by_task ON events (task_id, position);
CREATE INDEX events_by_task_and_seq ON events (task_id, last_seq, position);
CREATE INDEX events_by_project ON events (project, position);

CREATE TABLE idempotency_keys (
    key_id      TEXT   NOT NULL,
    value       TEXT   NOT NULL,
    fingerprint BLOB   NOT NULL, -- SHA-256 of the request
    task_id     TEXT,
    created_us  BIGINT NOT NULL,
    PRIMARY KEY (key_id, value)
);

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_us);
