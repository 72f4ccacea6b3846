"""Everything that can go wrong in a simulated world. A closed list: each is counted when it happens."""

from __future__ import annotations

from enum import Enum


class Fault(Enum):
    """One kind of fault; each world has a random few of them."""

    # A member is equal to itself only; the name's hash, which is Python's, takes a third of the time of drawing.
    __hash__ = object.__hash__

    # Connectors and what they deliver.
    AUTHORITY_CONNECTOR_STALLS = "authority_connector_stalls"
    REPLICA_CONNECTOR_STALLS = "replica_connector_stalls"
    CONNECTOR_REPEATS = "connector_repeats"  # restarted from an older stored offset
    CONNECTOR_SNAPSHOTS_AGAIN = "connector_snapshots_again"  # lost its place: changes are missing in between
    CONNECTOR_LIES = "connector_lies"  # leaves a change out and says nothing
    REPLICA_COVERED_LATE = "replica_covered_late"
    REPLICA_NEVER_COVERED = "replica_never_covered"
    SNAPSHOT_TAKES_LONG = "snapshot_takes_long"  # nothing is streamed for seconds after the first one
    RECORDS_UNREADABLE = "records_unreadable"
    SCHEMA_UNKNOWN = "schema_unknown"  # for seconds none of a store's changes can be understood
    VALUES_UNMAPPABLE = "values_unmappable"  # a type that the contract does not allow
    VALUES_LEFT_OUT = "values_left_out"  # the log names only what changed
    LOG_RESTARTS = "log_restarts"  # a reset, or another server: its places begin anew, and its end may be lost
    ROWS_HIDDEN = "rows_hidden"  # changed past the log, until a slice is read again
    SLICES_READ_AMID_CHANGES = "slices_read_amid_changes"  # selected at one moment, in the log at a later one
    # Kafka and ingest.
    PARTITIONS_REORDER = "partitions_reorder"  # one partition is read long before another
    INGEST_CRASHES = "ingest_crashes"
    OFFSETS_GO_BACK = "offsets_go_back"  # what was committed is lost: much is read once more
    BLOCKS_REPEAT = "blocks_repeat"
    BLOCKS_LOST = "blocks_lost"  # a block is lost, later ones arrive, and then the sender dies of it
    # The worker.
    WORKER_CRASHES = "worker_crashes"
    WORKER_STALLS = "worker_stalls"
    COMMITS_TORN = "commits_torn"  # a beginning of what a commit wrote is there, and the worker is not
    FINDINGS_UNACKNOWLEDGED = "findings_unacknowledged"
    # Time.
    BEACONS_SLOW = "beacons_slow"  # issued long before they are committed
    BEACON_ANSWERS_LOST = "beacon_answers_lost"
    BEACON_WRITER_DIES = "beacon_writer_dies"
    BEACON_WRITERS_DOUBLE = "beacon_writers_double"  # one hangs, another takes over, and both write
    BEACON_CLOCK_STEPS = "beacon_clock_steps"  # the writer's machine slept
    STORE_CLOCK_STEPS = "store_clock_steps"
    TRANSACTIONS_LONG = "transactions_long"  # rows are stamped at the statement's start, and committed much later
    # The application.
    ROW_HOT = "row_hot"  # two that are never at rest
    OLD_STATES_RETURN = "old_states_return"
    KEYS_CHANGE = "keys_change"  # one place in the log for the row that goes and the one that comes
    AUTHORITY_TRUNCATED = "authority_truncated"  # and each pipeline brings that as one, or row by row
    KEYS_COLLIDE = "keys_collide"  # two rows of a replica whose keys mean the same
    SNAPSHOTS_TELL_NOTHING = "snapshots_tell_nothing"  # of some stores: passes cover them, and gaps go unannounced
    # Pipelines.
    PIPELINE_STALLS = "pipeline_stalls"
    PIPELINE_LOSES = "pipeline_loses"
    PIPELINE_SKIPS = "pipeline_skips"  # of several changes only the last arrives
    PIPELINE_REORDERS = "pipeline_reorders"  # an older change arrives after a newer one
    PIPELINE_DOUBLES = "pipeline_doubles"  # an older change arrives once more
    PIPELINE_ALTERS = "pipeline_alters"
    PIPELINE_KEEPS_DELETED = "pipeline_keeps_deleted"
    PIPELINE_REPORTS_LATE = "pipeline_reports_late"  # how far it has come, as it was some time ago
    # Repairs.
    PLANNER_CRASHES = "planner_crashes"  # it has sent and not committed
    COMMANDS_REPEAT = "commands_repeat"
    APPLIER_CRASHES = "applier_crashes"  # at any of its steps
    APPLIER_RACES = "applier_races"  # others write between its steps
    TARGET_GONE = "target_gone"
    TARGET_ALTERS = "target_alters"  # a trigger makes another row of what a repair writes
    # Damages behind the pipeline's back.
    ROGUE_WRITES = "rogue_writes"
    ROGUE_DELETES = "rogue_deletes"
    ROGUE_INSERTS = "rogue_inserts"
    TABLE_TRUNCATED = "table_truncated"
    TRUNCATED_ROWS_RETURN = "truncated_rows_return"
    OLD_COPY_RESTORED = "old_copy_restored"  # rows as they were some time ago


REPAIRS = frozenset(
    {
        Fault.PLANNER_CRASHES,
        Fault.COMMANDS_REPEAT,
        Fault.APPLIER_CRASHES,
        Fault.APPLIER_RACES,
        Fault.TARGET_GONE,
        Fault.TARGET_ALTERS,
    }
)
"""Faults of worlds that repair."""
