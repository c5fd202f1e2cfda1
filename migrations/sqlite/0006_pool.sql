-- A worker runs as many tasks at once as it has seats.
ALTER TABLE tasks ADD COLUMN seat INTEGER NOT NULL DEFAULT 0;

-- Two replicas that choose the same seat at once cannot both start a task in it.
CREATE UNIQUE INDEX tasks_one_running_a_seat ON tasks (worker, seat)
    WHERE status = 'running' AND worker IS NOT NULL;
DROP INDEX tasks_one_running_a_worker;
