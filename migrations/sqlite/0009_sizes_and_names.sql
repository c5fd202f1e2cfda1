-- A task's files weigh in the size of the log with its last end: so many bytes of them are stored. Those of tasks that
-- ended before weigh nothing, and go by their age.
ALTER TABLE events ADD COLUMN file_bytes BIGINT NOT NULL DEFAULT 0;

-- The file was kept, and has made room for what is newer. Its `problem` is `lost`, which programs of the version before
-- can read.
ALTER TABLE artefacts ADD COLUMN removed BOOLEAN NOT NULL DEFAULT FALSE;

-- Names that callers gave to streams which retention has removed: a reader that comes back late must not take a new
-- stream for the one it knows.
CREATE TABLE removed_streams (
    project    TEXT   NOT NULL,
    stream     TEXT   NOT NULL,
    removed_us BIGINT NOT NULL,
    PRIMARY KEY (project, stream)
);

CREATE INDEX removed_streams_by_age ON removed_streams (removed_us);
