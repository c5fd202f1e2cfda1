-- no-transaction
-- Finds the operations that have not ended, which are claimed apart from commands.
CREATE INDEX CONCURRENTLY operations_in_line ON tasks (priority DESC, turn, id)
    WHERE status IN ('pending', 'running') AND project = '@operations';
