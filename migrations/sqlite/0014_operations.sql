-- Operations are tasks of the target `@operations`, and each has steps. What a step made is JSON: ids by the names of the
-- things, never secrets.
CREATE TABLE operation_steps (
    operation_id TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    number       INTEGER NOT NULL,
    name         TEXT NOT NULL,
    state        TEXT NOT NULL,
    attempt      INTEGER NOT NULL DEFAULT 0,
    made         TEXT NOT NULL DEFAULT '{}',
    error_code   TEXT,
    error        TEXT,
    started_us   BIGINT,
    ended_us     BIGINT,
    PRIMARY KEY (operation_id, number)
);

-- Earlier programs would claim operations, and cannot read them.
UPDATE schema_compatibility SET oldest_program = 14;
