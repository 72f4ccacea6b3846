"""Signed heads as a file of JSON, for people to keep where nobody reaches who administers a database or Kafka."""

from __future__ import annotations

from typing import Final

import msgspec

from app.core.errors import Undecodable
from app.core.heads import Heads

_BYTES_MAX: Final = 16 * 1024 * 1024


class _Chain(msgspec.Struct, forbid_unknown_fields=True):
    store: str
    partition: int
    sequence: int
    link: str


class _Topic(msgspec.Struct, forbid_unknown_fields=True):
    topic: str
    id: str
    partition: int
    next_offset: int


class _File(msgspec.Struct, forbid_unknown_fields=True):
    deployment: str
    at_ms: int
    chains: list[_Chain]
    topics: list[_Topic]
    key_id: str
    signature: str


def file_of(deployment: str, heads: Heads) -> bytes:
    """Return the file's bytes."""
    file = _File(
        deployment,
        heads.at_ms,
        [_Chain(store, partition, sequence, link.hex()) for store, partition, sequence, link in heads.chains],
        [_Topic(*each) for each in heads.topics],
        heads.key_id.hex(),
        heads.signature.hex(),
    )
    return msgspec.json.format(msgspec.json.encode(file), indent=1) + b"\n"


def heads_of(deployment: str, raw: bytes) -> Heads:
    """Return what a file says; `Undecodable` for one that is none, or of another deployment."""
    try:
        file = msgspec.json.decode(raw[:_BYTES_MAX], type=_File)
        heads = Heads(
            file.at_ms,
            tuple((each.store, each.partition, each.sequence, bytes.fromhex(each.link)) for each in file.chains),
            tuple((each.topic, each.id, each.partition, each.next_offset) for each in file.topics),
            bytes.fromhex(file.key_id),
            bytes.fromhex(file.signature),
        )
    except (msgspec.MsgspecError, ValueError):
        raise Undecodable("heads", "not a file of heads", hint="`driftline audit --write-heads` makes one") from None
    if file.deployment != deployment:
        raise Undecodable("heads", "the heads are of another deployment")
    return heads
