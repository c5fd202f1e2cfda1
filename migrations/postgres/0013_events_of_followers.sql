-- no-transaction
-- Finds the entries that followers read, however much output lies between them.
CREATE INDEX CONCURRENTLY events_of_followers ON events (position) WHERE kind <> 'output';
