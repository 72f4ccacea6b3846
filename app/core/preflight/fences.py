"""What the flags in a target would make of repairs, held against the settings of whoever asks."""

from __future__ import annotations

from collections.abc import Iterator

from app.core.guard import Fence
from app.core.preflight.problems import Found, Problem
from app.core.shard import FenceTokens, is_shard_of


def fence_problems(store: str, flags: Fence, tokens: FenceTokens) -> Iterator[Found]:
    """Tell what holds every repair of a target, and which fences stand elsewhere than the settings say."""
    where = f"store {store}"
    if flags.is_stopped:
        yield Found(Problem.REPAIRS_STOPPED, where)
    if flags.is_another_server:
        yield Found(Problem.ANOTHER_SERVER, where)
    wanted = tokens.targets.get(store, 0)
    if flags.token != wanted:
        yield Found(Problem.FENCE_DIFFERS, where, f"it stands at {flags.token}, fence_token is {wanted}")
    ours = tokens.shards_of(store)
    for shard in sorted(flags.shards.keys() | ours.keys()):
        stands, said = flags.shards.get(shard, 0), ours.get(shard, 0)
        if stands != said and is_shard_of(store, shard):
            yield Found(Problem.FENCE_DIFFERS, f"{where}, shard {shard}", f"it stands at {stands}, its token is {said}")
