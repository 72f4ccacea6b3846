-- The table in which Driftline plants drifts to measure itself, in PostgreSQL. Changes nothing twice.
CREATE TABLE IF NOT EXISTS {schema}.driftline_canary (
    id bigint PRIMARY KEY,
    state bigint NOT NULL
);
