"""Which server of a store of MongoDB answers: the replica set, and the UUID of the collection of beacons.

Both survive a failover. A collection that came back from a dump has another UUID, as its log is another.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final
from uuid import UUID

from pymongo import MongoClient

from app.adapters.mongodb_client import Document

BEACON: Final = "driftline_beacon"
_TOKEN_BITS: Final = 60


def server_name(client: MongoClient[Document], schema: str) -> str:
    """Return `set/uuid`, by a login that may list the collections of our own database; the driver's errors."""
    replica_set = client.admin.command("hello").get("setName", "")
    about = next(iter(client[schema].list_collections(filter={"name": BEACON})), {})
    uuid = about.get("info", {}).get("uuid", "")
    # A server that is not MongoDB's own may not mark the bytes as a UUID.
    return f"{replica_set}/{UUID(bytes=uuid) if isinstance(uuid, bytes) else uuid}"


def as_token(server: str) -> int:
    """Return the whole number of 60 bits that stands for a server's name in the collection of flags."""
    return int.from_bytes(blake2b(server.encode(), digest_size=8).digest(), "big") >> 64 - _TOKEN_BITS
