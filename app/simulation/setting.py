"""What a world is made of, drawn from its seed: sizes, windows, and which faults are in it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random

from app.simulation.faults import REPAIRS, Fault
from app.simulation.keys import cdc_partition_of, key_of, target_of

START_MS = 3_000
"""When connectors begin, and so the first moment of which anything can be told."""
QUIET_MS = 12_000
"""How long the world is left alone before it is judged, beyond its longest window."""
_LAGS_MS = 4_000
REREAD_MS = 19_000
"""How long after its last changes a world is read again: when no slice is read amid changes any more, and longer than a
read says nothing of a row that changed or was read."""
_COVERED_MS = 10_000
_COVERED_LATE = frozenset(
    {
        Fault.AUTHORITY_CONNECTOR_STALLS,
        Fault.REPLICA_CONNECTOR_STALLS,
        Fault.CONNECTOR_SNAPSHOTS_AGAIN,
        Fault.REPLICA_COVERED_LATE,
        Fault.SNAPSHOT_TAKES_LONG,
        Fault.LOG_RESTARTS,
        Fault.PARTITIONS_REORDER,
        Fault.OFFSETS_GO_BACK,
        Fault.BLOCKS_LOST,
    }
)
"""What may keep a store from being covered for long, or end its coverage."""
_REPAIRING = 0.5
_REPORTING = 0.4
_MANY = 5_000
_KEYS_FOR_ALL = 8
"""Rows in each partition of which a snapshot shows some for certain, though a tenth is absent and some are deleted."""
_TICKS_MS = (50, 100, 250, 500)
_LONG_TICKS_MS = (250, 500, 500, 1_000)

_PASS_MS = 50_000
"""How much longer a world lasts in which a pass may have to cover a store at its end."""
NOT_WITHOUT_SNAPSHOTS = frozenset(
    {
        Fault.TABLE_TRUNCATED,
        Fault.AUTHORITY_TRUNCATED,
        Fault.CONNECTOR_LIES,
        Fault.RECORDS_UNREADABLE,
        Fault.SCHEMA_UNKNOWN,
        Fault.VALUES_UNMAPPABLE,
        Fault.VALUES_LEFT_OUT,
        Fault.KEYS_COLLIDE,
        Fault.LOG_RESTARTS,
        Fault.ROWS_HIDDEN,
    }
)
"""What the stores have not that no snapshot tells of: theirs is MongoDB's log, of whole documents, by its clock."""

_CAME_LATER = frozenset({Fault.AUTHORITY_TRUNCATED, Fault.SNAPSHOTS_TELL_NOTHING})
"""Faults with dice of their own, so that the worlds of a seed are what they were before, but for these."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One world. All times are milliseconds of the world's own, exact clock; `window_ms` is the contract's."""

    seed: int
    changes: int
    faults: frozenset[Fault]
    window_ms: int
    end_ms: int
    keys: int
    replicas: int
    cdc_partitions: int
    targets: int
    tick_ms: int
    block_rows: int
    quiet_for_ms: int
    repairs: bool
    commit_ms: int
    pipelines_report: bool
    awake_rows_max: int

    @classmethod
    def draw(cls, seed: int, changes: int, faults: frozenset[Fault] | None = None) -> Setting:
        """Draw a world of about so many row changes, with these faults or a random subset of all."""
        dice = Random(f"{seed}:setting")
        share = dice.choice([0.1, 0.25, 0.5])
        later = Random(f"{seed}:faults that came later")
        drawn = frozenset(f for f in Fault if (later if f in _CAME_LATER else dice).random() < share)
        most = max(4, min(4_000, changes // 6))
        return cls(
            seed=seed,
            changes=changes,
            faults=drawn if faults is None else faults,
            window_ms=dice.choice([0, 1_000, 2_000, 3_000, 5_000]),
            end_ms=START_MS + dice.choice([20_000, 40_000]),
            keys=round(most ** dice.uniform(0.5, 1.0)) + 2,
            replicas=dice.choice([1, 1, 1, 2]),
            cdc_partitions=dice.randint(1, 3),
            targets=dice.choice([1, 1, 2, 3]),
            tick_ms=dice.choice(_TICKS_MS if changes < _MANY else _LONG_TICKS_MS),
            block_rows=dice.choice([1, 20, 1_000, 1_000, 1_000]),
            quiet_for_ms=dice.choice([500, 4_000, 20_000]),
            repairs=dice.random() < _REPAIRING or bool(faults and faults & REPAIRS),
            commit_ms=dice.choice([0, 500, 5_000]),
            pipelines_report=dice.random() < _REPORTING or bool(faults and Fault.PIPELINE_REPORTS_LATE in faults),
            awake_rows_max=dice.choice([0, 5, 10_000]),
        )

    def dice(self, name: str) -> Random:
        """Return dice of a part's own, so that leaving one fault out does not change what the others do."""
        return Random(f"{self.seed}:{name}")

    def has(self, fault: Fault) -> bool:
        """Whether a fault is in this world."""
        return fault in self.faults

    @property
    def store_names(self) -> tuple[str, ...]:
        """The stores' names, the authority's first."""
        return ("A", "R", "S")[: 1 + self.replicas]

    @property
    def cuts_tables(self) -> bool:
        """Whether a table is truncated, of the authority or of a replica."""
        return bool(self.faults & {Fault.TABLE_TRUNCATED, Fault.AUTHORITY_TRUNCATED})

    @property
    def streams_alone(self) -> frozenset[str]:
        """The stores of which no snapshot tells."""
        if not self.has(Fault.SNAPSHOTS_TELL_NOTHING) or self.faults & NOT_WITHOUT_SNAPSHOTS:
            return frozenset()
        names = self.store_names
        return frozenset(self.dice("streams alone").choice([names[:1], names[-1:], names]))

    # -- worlds that are not drawn: what they would show are open holes of the core, told of in docs/simulation.md

    @property
    def restarts_logs(self) -> bool:
        """Whether logs begin anew: only where a snapshot shows something in each partition, to each of the receivers.

        A row of the new log that is read before anything tells of it, in a partition that shows no row, is dropped. For
        what lies between a new log and its snapshot, connectors of these worlds take the snapshot first. Nor do they
        where commits are torn: a store is then known further than its partitions, and the old log breaks the new epoch.
        """
        if not self.has(Fault.LOG_RESTARTS) or self.cuts_tables or self.has(Fault.COMMITS_TORN):
            return False
        keys = map(key_of, range(self.keys))
        rows = Counter((cdc_partition_of(key, self.cdc_partitions), target_of(key, self.targets)) for key in keys)
        return len(rows) == self.cdc_partitions * self.targets and min(rows.values()) >= _KEYS_FOR_ALL

    @property
    def goes_on_in_logs(self) -> bool:
        """Whether connectors may go on in a log that began anew without a snapshot: what is read again finds no gap."""
        return not self.faults & {Fault.ROWS_HIDDEN, Fault.SLICES_READ_AMID_CHANGES}

    @property
    def snapshots_again(self) -> bool:
        """Whether connectors take their snapshot again: not where it may show nothing of a table that was cut.

        A row that is read before anything tells of that snapshot is then placed before it, and bracketed too early.
        Nor of one of two replicas where commits are torn: while it is not covered, rows forget what their authority
        showed as the other agrees, and may be kept so with a coverage that has not ended yet.
        """
        is_torn = self.replicas > 1 and self.has(Fault.COMMITS_TORN)
        return self.has(Fault.CONNECTOR_SNAPSHOTS_AGAIN) and not self.cuts_tables and not is_torn

    @property
    def shares_keys(self) -> bool:
        """Whether two rows come to have one key: not where they may be cut, or where a commit may be torn.

        Both rows' changes come again then to a state that knows them, as if the one that is gone had come anew.
        """
        return self.has(Fault.KEYS_COLLIDE) and not self.cuts_tables and not self.has(Fault.COMMITS_TORN)

    @property
    def reads_amid_changes(self) -> bool:
        """Whether slices are read amid changes: not where a truncate may come between a row's selection and its place.

        Read before the truncate, which is in another partition, such a row is taken for one that is there.
        """
        return self.has(Fault.SLICES_READ_AMID_CHANGES) and not self.cuts_tables

    def reads_late(self, at_ms: int) -> bool:
        """Whether a store that is read again at a moment may not show a change yet that stands in its log.

        Not where coverage may be on its way: until it is there, such a read is believed.
        """
        return at_ms >= START_MS + _COVERED_MS and not self.faults & _COVERED_LATE

    # -- times of the world

    @property
    def lags_until_ms(self) -> int:
        """Until when some of a store may be read seconds later than the rest: not when all is read again."""
        return self.end_ms + _LAGS_MS

    @property
    def reread_ms(self) -> int:
        """When all stores are read again, if rows of theirs are hidden: everything is at rest since long."""
        # A pipeline may stall longer than a window, and bring what it reordered another one later.
        return self.end_ms + 2 * self.window_ms + REREAD_MS

    @property
    def last_ms(self) -> int:
        """When the world ends."""
        begin_ms = self.reread_ms if self.has(Fault.ROWS_HIDDEN) else self.end_ms
        return begin_ms + self.window_ms + QUIET_MS + (_PASS_MS if self.streams_alone else 0)
