"""What the broker says of the changelog's partitions before a worker trusts its state of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from app.adapters.kafka_read import KafkaEnds, KafkaGroups
from app.core.state_identity import ChangelogPast


@dataclass(frozen=True, slots=True)
class ChangelogPasts:
    """Asks for where the changelog begins and ends, and how far the group has committed the topic it is folded from."""

    ends: KafkaEnds
    groups: KafkaGroups
    changelog: str
    group: str
    folded: str

    async def of(self, partitions: Iterable[int]) -> Mapping[int, ChangelogPast]:
        """Return the past of each partition; `Unready` if the broker cannot say."""
        wanted = list(partitions)
        return await asyncio.to_thread(self._asked, wanted) if wanted else {}

    def _asked(self, partitions: list[int]) -> Mapping[int, ChangelogPast]:
        places = [(self.changelog, partition) for partition in partitions]
        begin = self.ends.offsets(places, latest=False)
        end = self.ends.offsets(places, latest=True)
        committed = self.groups.committed(self.group, [(self.folded, partition) for partition in partitions])
        return {
            partition: ChangelogPast(begin[place], end[place], committed[self.folded, partition])
            for partition, place in zip(partitions, places, strict=True)
        }
