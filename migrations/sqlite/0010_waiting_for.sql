-- Decision or resource that a running task waits for: `approval`, `quota`, `budget`; null while it may go on. Such a task
-- has the status `running`.
ALTER TABLE tasks ADD COLUMN waiting_for TEXT;
