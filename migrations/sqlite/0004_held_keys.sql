-- The concurrency key of what is claimed or running: two tasks of one key cannot both hold it.
ALTER TABLE tasks ADD COLUMN holds_key TEXT
    GENERATED ALWAYS AS (CASE WHEN status = 'running' OR lease_owner IS NOT NULL THEN concurrency_key END) VIRTUAL;
CREATE UNIQUE INDEX tasks_by_held_key ON tasks (holds_key) WHERE holds_key IS NOT NULL;
DROP INDEX tasks_one_under_way_a_key;
