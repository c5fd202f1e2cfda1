-- A worker runs as many tasks at once as it has seats.
ALTER TABLE tasks ADD COLUMN seat INTEGER NOT NULL DEFAULT 0;

-- Two replicas that choose the same seat at once cannot both start a task in it.
CREATE UNIQUE INDEX tasks_one_running_a_seat ON tasks (worker, seat)
    WHERE status = 'running' AND worker IS NOT NULL;
DROP INDEX tasks_one_running_a_worker;

-- The files that tasks have left, each in parts. A file is listed once all of its parts are there; one that is not
-- kept is listed with the reason.
CREATE TABLE artefacts (
    task_id TEXT COLLATE "C" NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    number  INTEGER NOT NULL,
    path    TEXT COLLATE "C" NOT NULL,
    size    BIGINT NOT NULL,
    sha256  BYTEA,
    problem TEXT COLLATE "C",
    PRIMARY KEY (task_id, number)
);

CREATE TABLE artefact_parts (
    task_id TEXT COLLATE "C" NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    number  INTEGER NOT NULL,
    part    INTEGER NOT NULL,
    body    BYTEA NOT NULL,
    PRIMARY KEY (task_id, number, part)
);
