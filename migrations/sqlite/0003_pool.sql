-- Tasks of the pool lie beside the commands of projects. Callers and projects (`share`) have turns: one
-- task of each has the same turn, so that claiming in its order is fair, and reads no more than it takes.
ALTER TABLE tasks ADD COLUMN pool BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE tasks ADD COLUMN share TEXT NOT NULL DEFAULT '';
ALTER TABLE tasks ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN turn BIGINT NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN run_after_us BIGINT NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN max_attempts INTEGER NOT NULL DEFAULT 1;
ALTER TABLE tasks ADD COLUMN last_error TEXT;
-- The worker of the pool in which it was started.
ALTER TABLE tasks ADD COLUMN worker TEXT;

UPDATE tasks SET share = project;
UPDATE tasks SET tries = 1 WHERE started_us IS NOT NULL;

DROP INDEX tasks_unfinished;
-- Only unfinished tasks: claiming costs the same however many have ended.
CREATE INDEX commands_in_line ON tasks (priority DESC, turn, id)
    WHERE status IN ('pending', 'running') AND NOT pool;
CREATE INDEX tasks_waiting_in_pool ON tasks (priority DESC, turn, id) WHERE status = 'pending' AND pool;
CREATE INDEX tasks_running ON tasks (pool, priority, turn) WHERE status = 'running';
CREATE INDEX tasks_by_share ON tasks (pool, created_by, share, priority, turn)
    WHERE status IN ('pending', 'running');
-- Two replicas that choose the same worker at once cannot both start a task in it.
CREATE UNIQUE INDEX tasks_one_running_a_worker ON tasks (worker) WHERE status = 'running' AND worker IS NOT NULL;
CREATE INDEX tasks_of_pool_by_kind ON tasks (kind, status, created_us) WHERE pool;

CREATE TABLE draining_workers (
    worker   TEXT   NOT NULL PRIMARY KEY,
    since_us BIGINT NOT NULL
);
