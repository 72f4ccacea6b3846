-- The table in which Driftline plants drifts to measure itself, in MariaDB or MySQL. Changes nothing twice.
CREATE TABLE IF NOT EXISTS {schema}.driftline_canary (
    id bigint NOT NULL PRIMARY KEY,
    state bigint NOT NULL
) ENGINE = InnoDB;
