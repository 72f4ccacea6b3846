"""Shards: the rows of one entity in one replica that one partition of `observations` holds.

The smallest part that workers, commands and ledgers have in common, and so what can be stopped and fenced alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from app.core.command import RepairCommand

_PARTITION: Final = re.compile("0|[1-9][0-9]{0,9}")


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
    if not entity or not target or _PARTITION.fullmatch(number) is None:
        return None
    return entity, target, int(number)


def is_shard_of(target: str, name: str) -> bool:
    """Tell whether a name is that of a shard in a target."""
    parts = shard_parts(name)
    return parts is not None and parts[1] == target


@dataclass(frozen=True, slots=True)
class FenceTokens:
    """The tokens of fences: how often each target was fenced, and each shard for itself.

    A repair carries the sum of both. So each raise of either voids what carries less, whatever the other stands at.
    """

    targets: Mapping[str, int] = field(default_factory=dict)
    shards: Mapping[str, int] = field(default_factory=dict)

    def shards_of(self, target: str) -> Mapping[str, int]:
        """Return the tokens of a target's own shards."""
        return {name: token for name, token in self.shards.items() if is_shard_of(target, name)}

    def of(self, entity: str, target: str, partition: int) -> int:
        """Return the token that repairs of a shard carry; 0 where nothing was ever fenced."""
        return self.targets.get(target, 0) + self.shards.get(shard_name(entity, target, partition), 0)


UNFENCED: Final = FenceTokens()
"""Where nothing was ever fenced."""
