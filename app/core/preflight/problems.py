"""The closed list of what `driftline check` can find, each with what it means and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    """Whether verdicts could lie, or only less can be said or done."""

    ERROR = "error"
    WARNING = "warning"


_E, _W = Severity.ERROR, Severity.WARNING


class Problem(Enum):
    """What was found: its code, severity, meaning, and what to do."""

    CONTRACT = ("contract", _E, "a contract or setting cannot be used", "mend the file at the place named")
    UNREACHABLE = ("unreachable", _E, "it could not be asked", "start it, or mend address, login and grants")

    SECRET_MISSING = (
        "secret_missing",
        _E,
        "a file that the settings name is not there",
        "run driftline init, or write it",
    )
    SECRET_READABLE = ("secret_readable", _W, "others than its owner may read a secret's file", "chmod 600")

    TABLE_MISSING = (
        "table_missing",
        _E,
        "the table does not exist or the role may not see it",
        "create it or grant it",
    )
    COLUMN_MISSING = ("column_missing", _E, "the table has no such column", "mend the contract's columns")
    COLUMN_UNKNOWN_TYPE = (
        "column_unknown_type",
        _E,
        "the column's type does not map to the contract's type",
        "choose a type that it maps to, or leave the field out",
    )
    COLUMN_NARROWER = (
        "column_narrower",
        _W,
        "the column holds less than the contract's type, so copied values may differ",
        "widen the column, or narrow the contract's type",
    )
    COLUMN_WIDER = (
        "column_wider",
        _W,
        "the column can hold values outside the contract's type; such a row is unknown(schema)",
        "widen the contract's type",
    )
    COLUMN_GENERATED = (
        "column_generated",
        _E,
        "the log does not carry generated columns",
        "leave the field out of the contract",
    )
    ENCODING_MISSING = (
        "encoding_missing",
        _E,
        "records without schema do not tell this column's unit",
        "state it under encodings",
    )
    ENCODING_WRONG = (
        "encoding_wrong",
        _E,
        "the stated encoding is not what the column's records have",
        "mend encodings",
    )
    MAY_BE_LEFT_OUT = (
        "may_be_left_out",
        _W,
        "the log may leave out long values of these columns; such a row is unknown(partial)",
        "mark the fields large: true, or set REPLICA IDENTITY FULL",
    )
    KEY_DIFFERS = (
        "key_differs",
        _E,
        "the primary key is not the contract's key, so rows would be mixed up",
        "make the contract's key the table's primary key",
    )
    KEY_CASE_BLIND = (
        "key_case_blind",
        _W,
        "the key column holds letters of both cases equal and the contract does not",
        "set collation: ci for the key part, or a binary collation for the column",
    )
    UNCOVERED_COLUMN = (
        "uncovered_column",
        _W,
        "columns must have a value and the contract does not know them: missing rows cannot be repaired",
        "add them to the contract, or give them a default",
    )
    NOT_TRANSACTIONAL = (
        "not_transactional",
        _E,
        "the table has no transactions, so no repair can be guarded",
        "ALTER TABLE ... ENGINE=InnoDB, or write mode: observe",
    )
    OWN_TABLE_MISSING = (
        "own_table_missing",
        _E,
        "one of Driftline's own tables is missing, or no role given may see it",
        "run driftline init; or add the role capture",
    )
    OWN_FUNCTION_MISSING = (
        "own_function_missing",
        _W,
        "a function of Driftline's own is missing, so repairs do not slow down for standbys that fall behind",
        "run driftline init again, as after each upgrade",
    )

    REPAIRS_STOPPED = (
        "repairs_stopped",
        _W,
        "the flag `stop` in the target is set: nothing is repaired there",
        "once it may go on: UPDATE driftline_fence SET token = 0 WHERE scope = 'stop'",
    )
    ANOTHER_SERVER = (
        "another_server",
        _W,
        "not the server that driftline init met first: nothing is repaired there",
        "look whether it is the right one, then driftline init --accept-server",
    )
    FENCE_DIFFERS = (
        "fence_differs",
        _W,
        "a fence stands elsewhere than the settings say, so repairs that are planned with them are held (fenced)",
        "bring fence_token and shard_fence_tokens to what stands there, or driftline init --raise-fence",
    )

    STANDBY_SILENT = (
        "standby_silent",
        _W,
        "a standby does not tell how far it is, so repairs do not slow down for it",
        "start it, let it follow, or run driftline init for its login",
    )

    WAL_LEVEL = ("wal_level", _E, "wal_level is not logical", "set wal_level=logical and restart PostgreSQL")
    REPLICA_IDENTITY = (
        "replica_identity",
        _E,
        "the replica identity does not tell which row was changed or deleted",
        "ALTER TABLE ... REPLICA IDENTITY DEFAULT (with a primary key) or FULL",
    )
    NOT_PUBLISHED = (
        "not_published",
        _E,
        "the table is in no publication of the connector",
        "ALTER PUBLICATION ... ADD",
    )
    PUBLICATION_PARTIAL = (
        "publication_partial",
        _E,
        "the publication filters rows or columns",
        "publish the whole table",
    )
    PUBLICATION_SKIPS = (
        "publication_skips",
        _E,
        "the publication does not let every kind of change through",
        "ALTER PUBLICATION ... SET (publish = 'insert, update, delete, truncate')",
    )
    SERVER_ENCODING = (
        "server_encoding",
        _E,
        "the database is not in UTF-8, and its connector reads no other encoding",
        "move the tables to a database with encoding UTF8",
    )
    BINLOG_OFF = ("binlog_off", _E, "there is no binary log", "set log_bin and restart the server")
    BINLOG_FORMAT = ("binlog_format", _E, "the binary log does not carry rows", "set binlog_format=ROW")
    BINLOG_ROW_IMAGE = ("binlog_row_image", _E, "the log carries only parts of rows", "set binlog_row_image=FULL")
    BINLOG_FILTERED = ("binlog_filtered", _E, "the server leaves databases out of its log", "remove binlog filters")
    GTID_LAX = (
        "gtid_lax",
        _W,
        "transactions have no strict global order, so a failover may leave gaps unseen",
        "set gtid_strict_mode=ON (MariaDB) or gtid_mode=ON (MySQL)",
    )
    ZERO_DATE = (
        "zero_date",
        _W,
        "a zero date in a column that has no NULL arrives as 1970-01-01, and cannot be told from that day",
        "add NO_ZERO_DATE and NO_ZERO_IN_DATE to the server's sql_mode, or let the column be NULL",
    )
    LOG_SHORT = ("log_short", _W, "the log is kept for less than a day", "raise binlog_expire_logs_seconds")

    NO_REPLICA_SET = (
        "no_replica_set",
        _E,
        "the server belongs to no replica set, so it has neither change streams nor transactions",
        "start it with --replSet, and rs.initiate(): a set of one will do",
    )
    NO_IMAGES = (
        "no_images",
        _E,
        "the collection keeps no pre- and post-images, so its changes come without the document that they left",
        "run driftline init, or collMod with changeStreamPreAndPostImages: {enabled: true}",
    )

    CONNECT_OPEN = (
        "connect_open",
        _W,
        "anybody who reaches Connect's REST API may change connectors, and see or redirect every row",
        "ask for a login (a REST extension or a proxy), and bind it to an inner address",
    )
    CONNECTOR_UNNAMED = (
        "connector_unnamed",
        _W,
        "no connector is named for the store, so its configuration was not looked at",
        "add connect.url, and connector to the store",
    )
    CONNECTOR_MISSING = ("connector_missing", _E, "Connect has no connector of that name", "apply it, or mend the name")
    CONNECTOR_FAILED = (
        "connector_failed",
        _E,
        "the connector or its task does not run",
        "look at its status; restart it",
    )
    CONNECTOR_PAUSED = ("connector_paused", _W, "the connector is paused", "resume it")
    CONNECTOR_CLASS = (
        "connector_class",
        _E,
        "the connector is made for another kind of store",
        "mend kind or connector",
    )
    CONNECTOR_PREFIX = ("connector_prefix", _E, "topic.prefix is not the store's topic_prefix", "make them the same")
    CONNECTOR_CONVERTER = (
        "connector_converter",
        _E,
        "records are not written as the store's converter says",
        "make the store's converter what the connector uses",
    )
    CONVERTER_INHERITED = (
        "converter_inherited",
        _W,
        "the converter comes from the worker and was not seen",
        "name key.converter and value.converter in the connector",
    )
    SKIPS_OPERATIONS = ("skips_operations", _E, "some kinds of change are skipped", 'set "skipped.operations": "none"')
    GTID_FILTERED = (
        "gtid_filtered",
        _E,
        "transactions that were written on other servers are left out",
        "remove gtid.source.includes and gtid.source.excludes",
    )
    SLOT_UNGUARDED = (
        "slot_unguarded",
        _E,
        "a replication slot that was made anew, or moved past what was delivered, loses changes in silence",
        'set "offset.mismatch.strategy": "trust_offset" and "lsn.flush.mode": "connector"',
    )
    LOOKED_UP = (
        "looked_up",
        _E,
        "a document comes as it is when the connector looks for it, not as the change left it",
        'set "capture.mode": "change_streams_update_full" and "capture.mode.full.update.type": "post_image"',
    )
    ORDERED_BY_CLOCK = (
        "ordered_by_clock",
        _E,
        "changes carry the time of the server's clock in place of that of its log, and may seem to stand before others",
        'set "cursor.pipeline": "[{\\"$set\\": {\\"wallTime\\": {\\"$toDate\\": \\"$clusterTime\\"}}}]"',
    )
    REPLACES_NULL = (
        "replaces_null",
        _E,
        "NULL in a column with a default is sent as the default",
        'set "value.converter.replace.null.with.default": "false"',
    )
    REPLACES_NULL_ALWAYS = (
        "replaces_null_always",
        _W,
        "this converter sends NULL in a column with a default as the default, and has no setting against it",
        "use the JSON converter, or drop the defaults",
    )
    ALTERS_VALUES = ("alters_values", _E, "the connector alters records before we see them", "remove the setting")
    LEAVES_COLUMN_OUT = ("leaves_column_out", _E, "the connector leaves a compared column out", "mend its column lists")
    DECIMAL_MODE = ("decimal_mode", _E, "decimals lose digits or their scale", 'set "decimal.handling.mode": "string"')
    TIME_MODE = (
        "time_mode",
        _E,
        "times come in another unit than is read",
        'set "time.precision.mode": "adaptive_time_microseconds"',
    )
    INTERVAL_MODE = (
        "interval_mode",
        _E,
        "intervals lose the difference between months and days",
        'set "interval.handling.mode": "string"',
    )
    BINARY_MODE = ("binary_mode", _E, "bytes come in another form than is read", 'set "binary.handling.mode": "bytes"')
    UNSIGNED_MODE = (
        "unsigned_mode",
        _E,
        "unsigned bigints above 2^63 overflow",
        'set "bigint.unsigned.handling.mode": "precise"',
    )
    TIME_ADJUSTED = ("time_adjusted", _W, "two-digit years are shifted", 'set "enable.time.adjuster": "false"')
    PLACEHOLDER = (
        "placeholder",
        _E,
        "a value that the log left out cannot be told from a text",
        "set unavailable.value.placeholder to the text in placeholder_file",
    )
    DROPS_EVENTS = ("drops_events", _E, "events that cannot be read are dropped in silence", "set it to fail")
    NULL_FOR_FAULT = ("null_for_fault", _E, "a value that cannot be converted arrives as NULL", "set it to fail")
    NOT_CAPTURED = (
        "not_captured",
        _E,
        "the connector does not capture the table",
        "mend its include and exclude lists",
    )
    BEFORE_IMAGE_CAPTURED = (
        "before_image_captured",
        _E,
        "whole rows would enter Kafka through the ledger",
        "add the ledger's before_image to column.exclude.list",
    )
    NO_SIGNALS = (
        "no_signals",
        _W,
        "the connector takes no signals, so rows cannot be read again on demand",
        "set signal.data.collection and signal.enabled.channels",
    )
    SMALL_CHUNKS = (
        "small_chunks",
        _E,
        "a slice that is read again would be read in several statements, of which one may fail unseen",
        "make conductor.slice_rows at most the connector's incremental.snapshot.chunk.size",
    )
    NOT_EXACTLY_ONCE = (
        "not_exactly_once",
        _E,
        "a beacon may overtake older changes of other partitions",
        'set "exactly.once.support": "required" and the worker\'s exactly.once.source.support=enabled',
    )
    NO_SNAPSHOT = (
        "no_snapshot",
        _E,
        "rows older than the connector are never seen",
        'set "snapshot.mode": "initial", and leave no table and no row out of it',
    )
    INITIAL_READ = (
        "initial_read",
        _E,
        "what an initial snapshot of MongoDB reads does not tell where in the log it stands",
        'set "snapshot.mode": "no_data": documents of before are read by signals',
    )
    SECRET_IN_CONFIG = (
        "secret_in_config",
        _W,
        "the connector's configuration holds a secret in plain",
        "use a config provider, as ${file:...}",
    )

    TOPIC_MISSING = ("topic_missing", _E, "the topic does not exist", "create it before the connector starts")
    TOPIC_PARTITIONS = (
        "topic_partitions",
        _E,
        "the topic has another number of partitions than is stated",
        "mend partitions in the contract; never change a topic's",
    )
    TOPIC_UNCLEAN = (
        "topic_unclean",
        _E,
        "a broker that lacks records may become the leader, and changes are lost in silence",
        "set unclean.leader.election.enable=false",
    )
    TOPIC_COMPACTED = ("topic_compacted", _E, "compaction removes the history of keys", "set cleanup.policy=delete")

    DIGEST_DIFFERS = (
        "digest_differs",
        _E,
        "a row read by SQL and its own change event have different digests",
        "compare the column's type and the connector's modes with the contract; or is the connector far behind?",
    )
    ROW_UNREADABLE = ("row_unreadable", _E, "a live row does not fit the contract", "mend the contract's types")
    NOT_COMPARED = (
        "not_compared",
        _W,
        "too few live rows could be compared with their change events",
        "let the connector finish its snapshot, and check again",
    )

    def __init__(self, code: str, severity: Severity, meaning: str, hint: str) -> None:
        self.code = code
        self.severity = severity
        self.meaning = meaning
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Found:
    """One problem at one place: a file, a store's table or column, a connector's setting, a topic."""

    problem: Problem
    where: str
    detail: str = ""
