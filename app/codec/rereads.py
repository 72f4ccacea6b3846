"""How far tables have been read again, as JSON on the topic `rereads`. The key where a pass stands goes sealed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Final

import msgspec

from app.core.conducting import Done, Key
from app.core.errors import Undecodable

_BYTES_MAX: Final = 65_536

Seal = Callable[[str, bytes], bytes]
"""Seals or opens bytes of an entity."""


class _Done(msgspec.Struct):
    entity: str
    store: str
    finished: int
    after: str
    begun: str
    rows: int
    slices: int
    unproven: int
    gaps: int
    finished_wall_ms: int
    sampled_rows: int
    whole_rows: int
    whole_unproven: int
    whole_wall_ms: int
    begun_wall_ms: int = 0
    whole_begun_wall_ms: int = 0


def record_key(done: Done) -> bytes:
    """Return the key under which the topic keeps the newest word on a table."""
    return f"{done.entity}/{done.store}".encode()


def encode_done(done: Done, seal: Seal) -> bytes:
    """Write how far a table is."""
    after = seal(done.entity, json.dumps(done.after).encode()).hex() if done.after else ""
    return msgspec.json.encode(_Done(**{**asdict(done), "after": after, "begun": done.begun.hex()}))


def decode_done(value: bytes | None, unseal: Seal | None = None) -> Done:
    """Read how far a table is, without `unseal` but for where its pass stands; `Undecodable` if it is no word."""
    try:
        found = msgspec.json.decode((value or b"")[:_BYTES_MAX], type=_Done)
        done = Done(**{**msgspec.structs.asdict(found), "after": (), "begun": bytes.fromhex(found.begun)})
        return replace(done, after=_key(found, unseal)) if found.after and unseal is not None else done
    except (msgspec.MsgspecError, ValueError, TypeError) as error:
        what = f"not a word of ours ({type(error).__name__})"
        raise Undecodable("rereads", what, hint="who else writes this topic?") from None


def _key(found: _Done, unseal: Seal) -> Key:
    return tuple(map(str, json.loads(unseal(found.entity, bytes.fromhex(found.after)))))
