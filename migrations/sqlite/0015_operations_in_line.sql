-- Finds the operations that have not ended, which are claimed apart from commands. The project comes first in
-- the index: SQLite would choose another index of the project otherwise, and read all operations that have ended.
CREATE INDEX operations_in_line ON tasks (project, priority DESC, turn, id)
    WHERE status IN ('pending', 'running') AND project = '@operations';
