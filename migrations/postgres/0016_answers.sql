-- The answer to the first request under an idempotency key; NULL until it is stored, and where none is.
ALTER TABLE idempotency_keys ADD COLUMN answer_status INTEGER;
ALTER TABLE idempotency_keys ADD COLUMN answer_location TEXT COLLATE "C";
ALTER TABLE idempotency_keys ADD COLUMN answer TEXT COLLATE "C";

-- Ids of tasks begin with `task-`, which earlier programs cannot read.
UPDATE schema_compatibility SET oldest_program = 16;
