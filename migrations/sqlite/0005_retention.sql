-- What has ended long ago is found without looking at the rest.
CREATE INDEX tasks_by_end ON tasks (ended_us) WHERE ended_us IS NOT NULL;

-- Of a project's log something was removed that lay at this position, and maybe more before it.
CREATE TABLE pruned_logs (
    project  TEXT   NOT NULL PRIMARY KEY,
    position BIGINT NOT NULL
);

-- How large the output in the log is: counted after it was stored, so that storing it costs nothing more.
CREATE TABLE log_size (
    counted_to BIGINT NOT NULL, -- output up to this position is counted in `bytes`
    count_to   BIGINT NOT NULL, -- up to this position nobody stores anything any more
    removed_to BIGINT NOT NULL, -- up to this position there is no output left
    bytes      BIGINT NOT NULL
);
INSERT INTO log_size (counted_to, count_to, removed_to, bytes) VALUES (0, 0, 0, 0);

-- Of the processes on this database one does a chore at a time, and gives this sign of life.
CREATE TABLE turns (
    chore    TEXT   NOT NULL PRIMARY KEY,
    taken_us BIGINT NOT NULL
);
