-- How far each follower has read the log. Retention has removed entries up to `gap_to` that a cursor before it has not
-- passed; 0 where it has removed none.
CREATE TABLE log_cursors (
    follower   TEXT   NOT NULL PRIMARY KEY,
    position   BIGINT NOT NULL,
    gap_to     BIGINT NOT NULL DEFAULT 0,
    updated_us BIGINT NOT NULL
);
