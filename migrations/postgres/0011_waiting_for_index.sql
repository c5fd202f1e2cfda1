-- no-transaction
-- Finds the tasks that wait, which are few, however many are stored.
CREATE INDEX CONCURRENTLY tasks_by_waiting_for ON tasks (waiting_for, id) WHERE waiting_for IS NOT NULL;
