"""Shards: the rows of one entity in one replica that one partition of `observations` holds.

The smallest part that workers, commands and ledgers have in common, and so what can be stopped and fenced alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from app.core.command import RepairCommand


def shard_name(entity: str, target: str, partition: int) -> str:
    """Name a shard, as words, `driftline status` and people do."""
    return f"{entity}/{target}/{partition}"


def shard_of(command: RepairCommand) -> str:
    """Name the shard of a command's row."""
    return shard_name(command.entity, command.target, command.partition)


def shard_parts(name: str) -> tuple[str, str, int] | None:
    """Return the entity, target and partition of a name; None for what names no shard."""
    entity, _, rest = name.partition("/")
    target, _, number = rest.rpartition("/")
    # Digits of other scripts, and a number with zeros before it, would be second names of a shard.
    if not entity or not target or not number.isascii() or not number.isdigit() or str(int(number)) != number:
        return None
    return entity, target, int(number)


@dataclass(frozen=True, slots=True)
class FenceTokens:
    """The tokens of fences, by target, and of shards that were fenced for themselves; the higher one counts."""

    targets: Mapping[str, int] = field(default_factory=dict)
    shards: Mapping[str, int] = field(default_factory=dict)

    def shards_of(self, target: str) -> Mapping[str, int]:
        """Return the tokens of a target's own shards."""
        return {name: token for name, token in self.shards.items() if name.split("/")[-2:-1] == [target]}

    def of(self, entity: str, target: str, partition: int) -> int:
        """Return the token that repairs of a shard carry; 0 where nothing was ever fenced."""
        return max(self.targets.get(target, 0), self.shards.get(shard_name(entity, target, partition), 0))


UNFENCED: Final = FenceTokens()
"""Where nothing was ever fenced."""
