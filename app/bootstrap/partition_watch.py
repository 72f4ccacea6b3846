"""See to it that every topic has the partitions that are stated: what lies in others would be missed unnoticed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from app.core.errors import ContractViolation, Unready


@dataclass(frozen=True, slots=True)
class PartitionWatch:
    """Looks at the numbers of partitions again and again, for anybody may add some while the worker runs.

    A producer learns of new partitions when it asks for metadata the next time, after minutes as a rule.
    """

    stated: Mapping[str, int]
    partitions_of: Callable[[Iterable[str]], Mapping[str, int]]
    """Ask Kafka; blocks, `Unready` if it does not answer."""
    where: str

    async def look(self) -> None:
        """Raise `ContractViolation` if a topic has another number; a broker that is away is asked the next time."""
        with contextlib.suppress(Unready):
            check_partitions(self.stated, await asyncio.to_thread(self.partitions_of, self.stated), self.where)


def check_partitions(stated: Mapping[str, int], known: Mapping[str, int], where: str) -> None:
    """Raise `ContractViolation` for the first topic whose number of partitions is another than stated."""
    for topic, count in stated.items():
        if known.get(topic, count) != count:
            raise ContractViolation(
                f"topic {topic} has {known[topic]} partitions, not {count}",
                where=where,
                hint="rows would be missed in those that nobody knows of. Of a change topic: say `partitions` in the"
                " contract, and take a new snapshot. Of Driftline's own: make the topic anew; theirs never change",
            )
