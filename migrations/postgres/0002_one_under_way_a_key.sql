-- A claimed task holds its key before it runs, so the index counts it too: two processes that claim at the
-- same moment, each before it sees what the other has claimed, cannot both have a task of one key.
CREATE UNIQUE INDEX tasks_one_under_way_a_key ON tasks (concurrency_key)
    WHERE status = 'running' OR lease_owner IS NOT NULL;
DROP INDEX tasks_one_running_a_key;
