-- Driftline's own tables in MariaDB or MySQL. {schema} is their database, {store} this store's name. Changes nothing twice.
CREATE DATABASE IF NOT EXISTS {schema} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS {schema}.driftline_beacon (
    store_id varchar(64) NOT NULL PRIMARY KEY,
    writer_epoch bigint NOT NULL,
    sequence bigint NOT NULL,
    issued_at_ms bigint NOT NULL,
    previous_acknowledged_ms bigint NOT NULL,
    server varchar(128) NOT NULL,
    wall_at datetime(6) NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

INSERT INTO {schema}.driftline_beacon
    SELECT {store}, 0, 0, 0, 0, '', utc_timestamp(6) FROM DUAL
     WHERE NOT EXISTS (SELECT 1 FROM {schema}.driftline_beacon WHERE store_id = {store});

CREATE TABLE IF NOT EXISTS {schema}.driftline_signal (
    id varchar(64) NOT NULL PRIMARY KEY,
    type varchar(32) NOT NULL,
    data text
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The token of the row `stop` stops all writing here when it is not 0, and so does that of `server` when it does not
-- stand for the server that answers. Any other row is the fence of the shard that it names. `shared` is there to be
-- granted: a shared lock may need UPDATE on some column, and the token must not be it.
CREATE TABLE IF NOT EXISTS {schema}.driftline_fence (
    scope varchar(64) NOT NULL PRIMARY KEY,
    token bigint NOT NULL,
    shared smallint NOT NULL DEFAULT 0
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

INSERT INTO {schema}.driftline_fence (scope, token)
    SELECT '*', 0 FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM {schema}.driftline_fence WHERE scope = '*');

INSERT INTO {schema}.driftline_fence (scope, token)
    SELECT 'stop', 0 FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM {schema}.driftline_fence WHERE scope = 'stop');

INSERT INTO {schema}.driftline_fence (scope, token)
    SELECT 'server', {server} FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM {schema}.driftline_fence WHERE scope = 'server');

CREATE TABLE IF NOT EXISTS {schema}.driftline_ledger (
    command_id varchar(32) NOT NULL PRIMARY KEY,
    original_id varchar(32) NOT NULL,
    kind varchar(16) NOT NULL,
    finding_id varchar(32) NOT NULL,
    entity varchar(200) NOT NULL,
    target varchar(64) NOT NULL,
    key_hash varchar(32) NOT NULL,
    sealed_key varbinary(8192) NOT NULL,
    `partition` integer NOT NULL,
    action varchar(16) NOT NULL,
    outcome varchar(16) NOT NULL,
    reason varchar(32) NOT NULL,
    expected_digest varchar(32) NOT NULL,
    found_digest varchar(32) NOT NULL,
    intended_digest varchar(32) NOT NULL,
    before_image longblob NOT NULL,
    fence_token bigint NOT NULL,
    trace_id varchar(64) NOT NULL,
    approver varchar(200) NOT NULL,
    written_at datetime(6) NOT NULL,
    sequence bigint NOT NULL,
    chain varchar(64) NOT NULL,
    UNIQUE KEY driftline_ledger_chain (`partition`, sequence),
    -- The last minute is counted from it alone: to fetch each row of it by its id took longer than to write them.
    KEY driftline_ledger_written (kind, written_at, entity, action, approver),
    KEY driftline_ledger_row (key_hash, written_at),
    KEY driftline_ledger_original (original_id),
    CONSTRAINT driftline_ledger_partition CHECK (`partition` >= 0)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
