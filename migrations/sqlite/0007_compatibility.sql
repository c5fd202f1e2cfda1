-- The oldest program that can use this schema: it knows the migration of this number. A migration after which earlier
-- programs would read or write something wrong raises it; any other leaves them running beside newer ones.
CREATE TABLE schema_compatibility (
    oldest_program BIGINT NOT NULL
);
INSERT INTO schema_compatibility (oldest_program) VALUES (7);
