"""Shards whose drift went beyond what a policy bears: repairs stop there, and go on elsewhere.

| it stands | what is repaired in it | what ends it |
|---|---|---|
| clear | what the policy lets go | `Drifting` counts too much, or somebody says `pause` of it |
| quarantined | what a person approves | both stores read again from then on, and nothing open (`missing_of` is empty) |
| revalidated | what a person approves | an approver's signed `resume` of it |

The words stand on the topic `control`, as those that stop everything do, and outlive every restart.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from typing import Final

from app.core.command import DISTRUSTED, CommandOutcome, RefusalReason, RepairCommand
from app.core.conducting import Done
from app.core.contract import EntityContract, RepairPolicy
from app.core.shard import shard_of
from app.core.status import Coverage, StatusReport
from app.core.switch import Control, Said, Switch
from app.core.together import unit_of

DRIFTS_TOO_MUCH: Final = "drift"
"""Why the applier quarantines a shard by itself."""

_HOUR_MS: Final = 3_600_000
_SHARDS_MAX: Final = 10_000
_CLEAR: Final = Switch(lifted_through=-1)
_NOT_OF_OURS: Final = DISTRUSTED | {RefusalReason.UNREADABLE, RefusalReason.OUTSIDE_CONTRACT}


class Drifting:
    """Counts the rows of each shard that commands came for within the last hour, by their drifts.

    Made anew it has counted nothing: a quarantine is a word on `control`, and stands by that.
    """

    def __init__(self) -> None:
        self._drifts: dict[str, OrderedDict[bytes, int]] = {}

    def at_once(self, commands: Sequence[RepairCommand], most: Mapping[str, float]) -> int:
        """Return how many commands, from the first on, may be carried out before it is asked what became of them.

        They are those up to the row that tips a shard, if all count; `most` is how many rows of a shard its policy
        bears, for each that has such a limit and is not quarantined yet. Rows of one source transaction, which stand
        side by side, are not parted: where they go beyond the tipping one, none of them is among these. So it is 0
        where such a transaction stands first (`beyond`).
        """
        drifted: dict[str, set[bytes]] = {}
        count = 0
        for _, unit in groupby(commands, unit_of):
            rows = list(unit)
            over = self._over(rows, most, drifted)
            if over > 1:
                return count
            count += len(rows)
            if over > 0:
                return count
        return count

    def beyond(self, unit: Sequence[RepairCommand], most: Mapping[str, float]) -> frozenset[str]:
        """Return the shards that rows of one source transaction drift in beyond the one that tips it, if all count."""
        if len(unit) == 1:
            return frozenset()
        by_shard: dict[str, list[RepairCommand]] = {}
        for command in unit:
            by_shard.setdefault(shard_of(command), []).append(command)
        return frozenset(shard for shard, rows in by_shard.items() if self._over(rows, most, {}) > 1)

    def _over(self, rows: Iterable[RepairCommand], most: Mapping[str, float], drifted: dict[str, set[bytes]]) -> float:
        """Add rows to those that have drifted besides the counted ones; return by how much a shard is over its limit.

        What has drifted more than an hour ago is not left out: then fewer are begun at once, and nothing else.
        """
        over = 0.0
        for command in rows:
            shard = shard_of(command)
            if shard not in most or command.is_asked_for:
                continue
            counted: Mapping[bytes, int] = self._drifts.get(shard, {})
            more = drifted.setdefault(shard, set())
            if command.finding_id not in counted:
                more.add(command.finding_id)
            over = max(over, len(counted) + len(more) - most[shard])
        return over

    def after(
        self,
        command: RepairCommand,
        outcome: CommandOutcome,
        policy: RepairPolicy,
        shard_rows: float | None,
        *,
        is_beyond: bool = False,
    ) -> bool:
        """Take in one command and what became of it; tell whether its shard drifts more than the policy bears.

        `shard_rows` is about how many rows the shard has, None where nobody knows. A row counts once, however often its
        command comes; what is not the planner's never does. `is_beyond`: it was held since its source transaction goes
        beyond what the shard bears. Whoever trips begins to count anew.
        """
        most = limit_of(policy, shard_rows)
        if most is None or outcome.reason in _NOT_OF_OURS or command.is_asked_for:
            return False
        name = shard_of(command)
        drifts = self._drifts.setdefault(name, OrderedDict())
        drifts.setdefault(command.finding_id, outcome.at_ms)
        while drifts and next(iter(drifts.values())) <= outcome.at_ms - _HOUR_MS:
            drifts.popitem(last=False)
        if len(drifts) <= most and not is_beyond:
            return False
        del self._drifts[name]
        return True


def limit_of(policy: RepairPolicy, shard_rows: float | None) -> float | None:
    """Return how many rows of a shard may drift within an hour by the stricter word of its policy, None: all."""
    limits: list[float] = [] if policy.quarantine_rows is None else [policy.quarantine_rows]
    if policy.quarantine_percent is not None and shard_rows:
        limits.append(max(1, policy.quarantine_percent * shard_rows / 100))
    return min(limits, default=None)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a shard stands by the words on it, and the last one that stopped it."""

    switch: Switch = _CLEAR
    stop: Control | None = None


class Shards:
    """How all shards stand, by the words that were read."""

    def __init__(self) -> None:
        self._standings: dict[str, Standing] = {}

    def after(self, word: Control, offset: int) -> bool:
        """Take in a word on a shard; a `resume` must have been found to be an approver's.

        False where more shards were named than any deployment has: the word must be taken for all of them.
        """
        before = self._standings.get(word.shard)
        if before is None and len(self._standings) >= _SHARDS_MAX:
            return False
        before = before or Standing()
        stop = before.stop if word.said is Said.RESUME else word
        self._standings[word.shard] = Standing(before.switch.after(word, offset), stop)
        return True

    def is_quarantined(self, shard: str) -> bool:
        """Tell whether repairs stop in a shard."""
        held = self._standings.get(shard)
        return held is not None and not held.switch.is_on

    def quarantined(self) -> dict[str, Control]:
        """Return the shards where repairs stop, each with the word that did it last."""
        return {
            name: held.stop
            for name, held in sorted(self._standings.items())
            if held.stop is not None and not held.switch.is_on
        }


class Missing(Enum):
    """What a shard lacks before it counts as revalidated."""

    NOT_READ_AGAIN = "not_read_again"  # a store's table was not read whole by a pass that began since
    SLICES_UNPROVEN = "slices_unproven"  # that pass went on without some slices
    NOT_REPORTED = "not_reported"  # no worker has said how the shard is since it was read
    NOT_COVERED = "not_covered"
    DRIFTS_OPEN = "drifts_open"
    KEYS_UNKNOWN = "keys_unknown"


def missing_of(
    contract: EntityContract,
    target: str,
    since_ms: int,
    done: Mapping[str, Done],
    report: StatusReport | None,
) -> list[tuple[Missing, str]]:
    """Return what a shard lacks that was quarantined at `since_ms` (wall clock), each with the store that it is about.

    `done` is how far the entity has been read again, by store; `report` the newest of the shard's own worker.
    """
    found: list[tuple[Missing, str]] = []
    read_ms = since_ms
    for store in (contract.authority, target):
        passed = done.get(store)
        if passed is None or passed.whole_begun_wall_ms <= since_ms:
            found.append((Missing.NOT_READ_AGAIN, store))
        else:
            read_ms = max(read_ms, passed.whole_wall_ms)
            if passed.whole_unproven:
                found.append((Missing.SLICES_UNPROVEN, store))
    return [*found, *((what, target) for what in _missing_of_report(report, read_ms))]


def _missing_of_report(report: StatusReport | None, read_ms: int) -> Iterable[Missing]:
    if report is None or report.reported_at_wall_ms <= read_ms:
        yield Missing.NOT_REPORTED
        return
    if report.coverage is not Coverage.COVERED or report.verified_through_ms is None:
        yield Missing.NOT_COVERED
    if any(report.open_drifts.values()):
        yield Missing.DRIFTS_OPEN
    if any(report.unknown_keys.values()):
        yield Missing.KEYS_UNKNOWN
