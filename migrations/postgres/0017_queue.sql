-- A job's row was wide and had eleven indexes, of which its start and its end changed most. `jobs` keeps what is known at a
-- job's acceptance and at its end. `queue` has what changes in between, in a narrow row that the end deletes.
-- A claim, a start and an append change no column of it that is indexed, so that Postgres writes to no index (HOT).
--
-- Names are those of the program: a job has a target and the project that it is done for, a claim has a token.
CREATE TABLE queue (
    id                 TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    lane               INTEGER NOT NULL, -- 0 commands of projects, 1 tasks of the pool, 2 operations
    kind               TEXT COLLATE "C" NOT NULL,
    project            TEXT COLLATE "C" NOT NULL, -- the project that the job is done for; empty for none
    created_by         TEXT COLLATE "C" NOT NULL,
    created_us         BIGINT  NOT NULL,
    priority           INTEGER NOT NULL,
    virtual_time       BIGINT  NOT NULL,
    -- False while another job of the concurrency key comes before this one: a claim does not see it.
    ready              BOOLEAN NOT NULL,
    concurrency_key    TEXT COLLATE "C",
    run_after_us       BIGINT  NOT NULL,
    postponed_until_us BIGINT  NOT NULL DEFAULT 0,
    -- The claim: a worker's writes carry its token, which a later claim makes worthless.
    token              BIGINT  NOT NULL DEFAULT 0,
    lease_owner        TEXT COLLATE "C",
    -- The lease of the claim. From then on the owner renews its own.
    lease_until_us     BIGINT  NOT NULL DEFAULT 0,
    cancel_requested   BOOLEAN NOT NULL DEFAULT FALSE,
    attempts           INTEGER NOT NULL DEFAULT 0,
    earlier_attempts   INTEGER NOT NULL DEFAULT 0,
    last_error         TEXT COLLATE "C",
    started_us         BIGINT,
    pod_uid            TEXT COLLATE "C",
    worker             TEXT COLLATE "C", -- of the pool
    slot               INTEGER NOT NULL DEFAULT 0,
    last_seq           BIGINT  NOT NULL DEFAULT 0,
    -- The failure that keeps the job from going on.
    reason             TEXT COLLATE "C",
    message            TEXT COLLATE "C",
    waiting_for        TEXT COLLATE "C", -- approval, quota, budget
    -- Two processes that claim at the same moment cannot both have a job of one key.
    holds_key          TEXT COLLATE "C"
        GENERATED ALWAYS AS (CASE WHEN started_us IS NOT NULL OR lease_owner IS NOT NULL THEN concurrency_key END) STORED
) WITH (fillfactor = 40, autovacuum_vacuum_scale_factor = 0.02);

INSERT INTO queue (id, lane, kind, project, created_by, created_us, priority, virtual_time, ready, concurrency_key,
                   run_after_us, postponed_until_us, token, cancel_requested, attempts, earlier_attempts, last_error,
                   started_us, pod_uid, worker, slot, last_seq, reason, message, waiting_for)
SELECT id, CASE WHEN pool THEN 1 WHEN project = '@operations' THEN 2 ELSE 0 END, kind, share, created_by, created_us,
       priority, turn, concurrency_key IS NULL, concurrency_key,
       -- No lease outlives the programs before this schema: every claim is released.
       run_after_us, CASE WHEN lease_owner IS NULL THEN lease_until_us ELSE 0 END,
       CASE WHEN lease_owner IS NULL THEN attempt ELSE attempt + 1 END, cancel_requested, tries, earlier_tries, last_error,
       started_us, place_uid, worker, seat, last_seq, reason, message, waiting_for
FROM tasks WHERE status IN ('pending', 'running');

-- The first of each key: the one that runs, or else the one of the highest priority, then the oldest; those whose time has
-- come go before the others.
UPDATE queue SET ready = TRUE WHERE id IN (
    SELECT id FROM (
        SELECT id, ROW_NUMBER() OVER (
            PARTITION BY concurrency_key ORDER BY CASE WHEN started_us IS NULL THEN 1 ELSE 0 END,
                CASE WHEN run_after_us <= (extract(epoch FROM clock_timestamp()) * 1000000)::BIGINT THEN 0 ELSE run_after_us END,
                priority DESC, id) AS nth
        FROM queue WHERE concurrency_key IS NOT NULL) AS of_key
    WHERE nth = 1);

CREATE INDEX queue_in_line ON queue (lane, ready, priority DESC, virtual_time, id);
CREATE INDEX queue_by_caller ON queue (lane, created_by, project, priority, virtual_time);
CREATE INDEX queue_by_key ON queue (concurrency_key, ready, priority DESC, id) WHERE concurrency_key IS NOT NULL;
CREATE UNIQUE INDEX queue_by_held_key ON queue (holds_key) WHERE holds_key IS NOT NULL;
-- Two replicas that choose the same slot at once cannot both start a task in it.
CREATE UNIQUE INDEX queue_by_slot ON queue (worker, slot) WHERE worker IS NOT NULL;
CREATE INDEX queue_postponed ON queue (project) WHERE postponed_until_us > 0;

-- A worker process holds its jobs as long as its lease lasts: one row is renewed, however many jobs it holds.
CREATE TABLE lease_owners (
    owner          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    lease_until_us BIGINT NOT NULL
) WITH (fillfactor = 50);

-- The virtual time to which each lane and priority has been served: a new caller begins there.
CREATE TABLE virtual_clocks (
    lane         INTEGER NOT NULL,
    priority     INTEGER NOT NULL,
    virtual_time BIGINT  NOT NULL,
    PRIMARY KEY (lane, priority)
) WITH (fillfactor = 50);
INSERT INTO virtual_clocks (lane, priority, virtual_time)
SELECT lane, priority, COALESCE(MAX(CASE WHEN started_us IS NOT NULL THEN virtual_time END), MIN(virtual_time) - 1)
FROM queue GROUP BY lane, priority;

-- Numbers of the tasks that have ended, which are too many to count for each request.
CREATE TABLE ended_tasks (
    kind   TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    count  BIGINT NOT NULL,
    PRIMARY KEY (kind, status)
) WITH (fillfactor = 50);
INSERT INTO ended_tasks (kind, status, count)
SELECT kind, status, COUNT(*) FROM tasks WHERE pool AND ended_us IS NOT NULL GROUP BY kind, status;

DROP INDEX tasks_by_stream;
DROP INDEX tasks_by_concurrency_key;
DROP INDEX commands_in_line;
DROP INDEX tasks_waiting_in_pool;
DROP INDEX tasks_running;
DROP INDEX tasks_by_share;
DROP INDEX tasks_one_running_a_seat;
DROP INDEX tasks_of_pool_by_kind;
DROP INDEX tasks_by_held_key;
DROP INDEX tasks_by_end;
DROP INDEX tasks_by_waiting_for;
DROP INDEX operations_in_line;
ALTER TABLE tasks DROP COLUMN holds_key;
ALTER TABLE tasks DROP COLUMN concurrency_key;
ALTER TABLE tasks DROP COLUMN pool;
ALTER TABLE tasks DROP COLUMN turn;
ALTER TABLE tasks DROP COLUMN waiting_for;
ALTER TABLE tasks DROP COLUMN lease_owner;
ALTER TABLE tasks DROP COLUMN lease_until_us;
ALTER TABLE tasks RENAME COLUMN project TO target;
ALTER TABLE tasks RENAME COLUMN share TO project;
ALTER TABLE tasks RENAME COLUMN attempt TO token;
ALTER TABLE tasks RENAME COLUMN place_uid TO pod_uid;
ALTER TABLE tasks RENAME COLUMN tries TO attempts;
ALTER TABLE tasks RENAME COLUMN earlier_tries TO earlier_attempts;
ALTER TABLE tasks RENAME COLUMN seat TO slot;
ALTER TABLE tasks RENAME TO jobs;
ALTER INDEX tasks_pkey RENAME TO jobs_pkey;
ALTER INDEX tasks_by_project RENAME TO jobs_by_target;
-- Room beside a row for its end, which changes no column that is indexed.
ALTER TABLE jobs SET (fillfactor = 45);
-- The status of a job's end; null until then.
ALTER TABLE jobs ALTER COLUMN status DROP NOT NULL;
-- The stream of a job has the job's id, unless its caller names it.
CREATE UNIQUE INDEX jobs_by_stream ON jobs (target, stream) WHERE stream <> id;

-- An entry is stored with its job's row locked, or new: each check of the reference locked the row once more.
ALTER TABLE events DROP CONSTRAINT events_task_id_fkey;
DROP INDEX events_by_task_and_seq;
ALTER TABLE events RENAME COLUMN task_id TO job_id;
ALTER TABLE events RENAME COLUMN project TO log;
ALTER TABLE events RENAME TO entries;
ALTER SEQUENCE events_position_seq RENAME TO entries_position_seq;
ALTER INDEX events_pkey RENAME TO entries_pkey;
ALTER INDEX events_by_task RENAME TO entries_by_job;
ALTER INDEX events_by_project RENAME TO entries_by_log;
ALTER INDEX events_of_followers RENAME TO entries_of_followers;
-- Entries without a number of their own are found from the output beside them.
CREATE INDEX entries_of_output ON entries (job_id, last_seq, position) WHERE kind = 'output';

ALTER TABLE artefacts RENAME COLUMN task_id TO job_id;
ALTER TABLE artefact_parts RENAME COLUMN task_id TO job_id;
ALTER TABLE idempotency_keys RENAME COLUMN task_id TO job_id;
ALTER TABLE pruned_logs RENAME COLUMN project TO log;
ALTER TABLE removed_streams RENAME COLUMN project TO target;
ALTER TABLE turns RENAME COLUMN chore TO job_name;
ALTER TABLE turns RENAME COLUMN taken_us TO acquired_us;
ALTER TABLE turns RENAME TO periodic_leases;
ALTER INDEX turns_pkey RENAME TO periodic_leases_pkey;

UPDATE jobs SET status = NULL, token = 0, started_us = NULL, pod_uid = NULL, worker = NULL, slot = 0, last_seq = 0, reason = NULL,
                message = NULL, last_error = NULL, cancel_requested = FALSE
WHERE ended_us IS NULL;

-- Earlier programs know other tables.
UPDATE schema_compatibility SET oldest_program = 17;
