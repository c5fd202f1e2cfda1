-- How often a task was started before the present round of attempts: the first round, or the one that somebody has asked
-- for by hand. `max_attempts` is for one round.
ALTER TABLE tasks ADD COLUMN earlier_tries INTEGER NOT NULL DEFAULT 0;

-- Earlier versions added to `max_attempts` all attempts so far, so that rounds grew.
WITH retries AS (SELECT task_id, CAST(body AS TEXT) AS told FROM events WHERE kind = 'retry'),
     reopened AS (
         SELECT task_id, MAX(told ->> 'attempt') - 1 AS earlier, SUM((told ->> 'attempt') - 1) AS added
         FROM retries WHERE told ->> 'counted' GROUP BY task_id)
UPDATE tasks SET earlier_tries = r.earlier, max_attempts = max_attempts - r.added
FROM reopened r WHERE r.task_id = tasks.id;
