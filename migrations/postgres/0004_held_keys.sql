-- The concurrency key of what is claimed or running. A column of its own, so that a claim of a task without a
-- key changes nothing that is indexed: Postgres then writes to no index (a HOT update).
ALTER TABLE tasks ADD COLUMN holds_key TEXT COLLATE "C"
    GENERATED ALWAYS AS (CASE WHEN status = 'running' OR lease_owner IS NOT NULL THEN concurrency_key END) STORED;
-- Two processes that claim at the same moment, each before it sees what the other has claimed, cannot both
-- have a task of one key.
CREATE UNIQUE INDEX tasks_by_held_key ON tasks (holds_key) WHERE holds_key IS NOT NULL;
DROP INDEX tasks_one_under_way_a_key;
