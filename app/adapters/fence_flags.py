"""What the flags in a target say, of whatever kind it is: `driftline_fence` has a token for each scope."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from app.core.errors import Unready
from app.core.guard import Fence

EVERYWHERE: Final = "*"
"""The scope of the fence that holds for a whole store."""
STOP: Final = "stop"
"""The scope whose token stops all writing in a store when it is not 0."""
SERVER: Final = "server"
"""The scope whose token stands for the server that a person has accepted."""

Flags = Mapping[str, int]
"""Tokens by scope; others than those above are shards."""


def fence_of(flags: Flags, server: int, where: str) -> Fence:
    """Return what flags say to the server of this token; `Unready` where one is not there."""
    shards = dict(flags)
    if not shards.keys() >= {EVERYWHERE, STOP, SERVER}:
        raise Unready("the fence lacks a flag", where=where, hint="run `driftline init` for this store")
    token, stop, accepted = (shards.pop(scope) for scope in (EVERYWHERE, STOP, SERVER))
    return Fence(token, is_stopped=bool(stop), is_another_server=accepted != server, shards=shards)
