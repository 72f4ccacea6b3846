-- Driftline's own tables in PostgreSQL. {schema} is their schema, {store} this store's name. Changes nothing twice.
CREATE SCHEMA IF NOT EXISTS {schema};

CREATE TABLE IF NOT EXISTS {schema}.driftline_beacon (
    store_id text PRIMARY KEY,
    writer_epoch bigint NOT NULL,
    sequence bigint NOT NULL,
    issued_at_ms bigint NOT NULL,
    previous_acknowledged_ms bigint NOT NULL,
    server text NOT NULL,
    wall_at timestamptz(6) NOT NULL
);

INSERT INTO {schema}.driftline_beacon VALUES ({store}, 0, 0, 0, 0, '', now()) ON CONFLICT (store_id) DO NOTHING;

CREATE TABLE IF NOT EXISTS {schema}.driftline_signal (
    id varchar(64) PRIMARY KEY,
    type varchar(32) NOT NULL,
    data text
);

-- The token of the row `stop` stops all writing here when it is not 0, and so does that of `server` when it does not
-- stand for the server that answers. Any other row is the fence of the shard that it names. `shared` is there to be
-- granted: a shared lock needs UPDATE on some column, and the token must not be it.
CREATE TABLE IF NOT EXISTS {schema}.driftline_fence (
    scope varchar(64) PRIMARY KEY,
    token bigint NOT NULL,
    shared smallint NOT NULL DEFAULT 0
);

INSERT INTO {schema}.driftline_fence (scope, token) VALUES ('*', 0), ('stop', 0), ('server', {server})
    ON CONFLICT (scope) DO NOTHING;

CREATE TABLE IF NOT EXISTS {schema}.driftline_ledger (
    command_id varchar(32) PRIMARY KEY,
    original_id varchar(32) NOT NULL,
    kind varchar(16) NOT NULL,
    finding_id varchar(32) NOT NULL,
    entity varchar(200) NOT NULL,
    target varchar(64) NOT NULL,
    key_hash varchar(32) NOT NULL,
    sealed_key bytea NOT NULL,
    "partition" integer NOT NULL CONSTRAINT driftline_ledger_partition CHECK ("partition" >= 0),
    action varchar(16) NOT NULL,
    outcome varchar(16) NOT NULL,
    reason varchar(32) NOT NULL,
    expected_digest varchar(32) NOT NULL,
    found_digest varchar(32) NOT NULL,
    intended_digest varchar(32) NOT NULL,
    before_image bytea NOT NULL,
    fence_token bigint NOT NULL,
    trace_id varchar(64) NOT NULL,
    approver varchar(200) NOT NULL,
    written_at timestamptz(6) NOT NULL,
    sequence bigint NOT NULL,
    chain varchar(64) NOT NULL
);

CREATE UNIQUE INDEX IF NOT EXISTS driftline_ledger_chain ON {schema}.driftline_ledger ("partition", sequence);

CREATE INDEX IF NOT EXISTS driftline_ledger_written
    ON {schema}.driftline_ledger (kind, written_at, entity, action, approver);

CREATE INDEX IF NOT EXISTS driftline_ledger_row ON {schema}.driftline_ledger (key_hash, written_at);

CREATE INDEX IF NOT EXISTS driftline_ledger_original ON {schema}.driftline_ledger (original_id);

-- How far this server's standbys are, for a role that may see nothing else of other sessions: with the rights of the
-- function's owner, who must be a superuser or have pg_read_all_stats. Connectors read slots, and are no standbys.
-- Every name is looked up in pg_catalog: a caller's temporary view, which would come first where pg_temp is not named
-- last, would run with the owner's rights.
CREATE OR REPLACE FUNCTION {schema}.driftline_standbys(OUT written bigint, OUT replayed bigint, OUT lag_ms bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $driftline$ SELECT (pg_current_wal_lsn() - '0/0')::bigint, min(replica.replay_lsn - '0/0')::bigint,
        (max(extract(epoch FROM replica.replay_lag)) * 1000)::bigint
        FROM pg_catalog.pg_stat_replication replica LEFT JOIN pg_catalog.pg_replication_slots slot ON slot.active_pid = replica.pid
        WHERE slot.slot_type IS DISTINCT FROM 'logical' $driftline$;

REVOKE ALL ON FUNCTION {schema}.driftline_standbys() FROM PUBLIC;
