-- Operations are tasks of the target `@operations`, and each has steps. What a step made is JSON: ids by the names of the
-- things, never secrets.
CREATE TABLE operation_steps (
    operation_id TEXT COLLATE "C" NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    number       INTEGER NOT NULL,
    name         TEXT COLLATE "C" NOT NULL,
    state        TEXT COLLATE "C" NOT NULL,
    attempt      INTEGER NOT NULL DEFAULT 0,
    made         TEXT COLLATE "C" NOT NULL DEFAULT '{}',
    error_code   TEXT COLLATE "C",
    error        TEXT COLLATE "C",
    started_us   BIGINT,
    ended_us     BIGINT,
    PRIMARY KEY (operation_id, number)
);

-- Earlier programs would claim operations, and cannot read them.
UPDATE schema_compatibility SET oldest_program = 14;
