"""Quarantined shards as people see them: since when, why, and what each lacks before an approver may let it go on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.core.quarantine import Missing, Shards, missing_of
from app.core.shard import shard_parts
from app.core.switch import Control

if TYPE_CHECKING:
    from app.cli.deployment import Deployment
    from app.core.conducting import Done
    from app.core.contract import EntityContract
    from app.core.status import StatusReport


@dataclass(frozen=True, slots=True)
class Known:
    """What tells whether a shard was revalidated: how far tables were read again, and the newest reports."""

    done: Mapping[tuple[str, str], Done]
    reports: Mapping[tuple[str, str, int], StatusReport]

    def missing(self, contracts: Mapping[str, EntityContract], shard: str, since_ms: int) -> list[tuple[Missing, str]]:
        """Return what a shard lacks that was quarantined at `since_ms`; one that no contract knows is not covered."""
        parts = shard_parts(shard)
        if parts is None:
            return [(Missing.NOT_COVERED, shard)]
        entity, target, partition = parts
        contract = contracts.get(entity)
        if contract is None:
            return [(Missing.NOT_COVERED, target)]
        done = {store: each for (of, store), each in self.done.items() if of == entity}
        return missing_of(contract, target, since_ms, done, self.reports.get((entity, target, partition)))


def quarantined(words: Iterable[tuple[int, Control]]) -> dict[str, Control]:
    """Return the shards where repairs stop by words and their offsets, each with the word that did it."""
    shards = Shards()
    for offset, word in words:
        if word.shard:
            shards.after(word, offset)
    return shards.quarantined()


def shard_rows(
    stops: Mapping[str, Control], contracts: Mapping[str, EntityContract], known: Known
) -> list[Mapping[str, Any]]:
    """Return quarantined shards as they are printed."""
    from app.codec.rendering import wall_text

    return [
        {
            "shard": shard,
            "since": wall_text(stop.at_ms),
            "by": stop.by,
            "why": stop.why,
            "missing": [f"{what.value} ({store})" for what, store in known.missing(contracts, shard, stop.at_ms)],
        }
        for shard, stop in stops.items()
    ]


def shard_text(row: Mapping[str, Any]) -> str:
    """Return one quarantined shard as a line."""
    missing = ", ".join(row["missing"])
    lacks = f"quarantined, lacks {missing}" if missing else "revalidated, waits for an approver"
    return f"shard {row['shard']}: {lacks} (by {row['by']} since {row['since']}: {row['why'] or 'no reason'})"


def read_known(deployment: Deployment) -> Known:
    """Read from the topics what tells whether shards were revalidated."""
    from app.codec.rereads import decode_done
    from app.topics import REREADS, STATUS

    done = {(each.entity, each.store): each for _, each in deployment.records(REREADS, decode_done)}
    reports = {
        (report.entity, report.store, report.partition): report
        for _, report in deployment.records(STATUS, deployment.codec.read_status)
    }
    return Known(done, reports)
