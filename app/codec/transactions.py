"""Ids of transactions as numbers."""

from __future__ import annotations

import hashlib
from functools import lru_cache


@lru_cache(maxsize=4096)
def transaction_number(text: str) -> int:
    """Return a transaction's id as a number below 2^63: 0 for none, PostgreSQL's own, or one made of the GTID.

    A GTID of MariaDB with a domain below 64, a server id below 65,536 and a sequence below 2^40 is packed and can be
    read back from the number; others, and those of MySQL, are hashed into the other half of the numbers.
    """
    if not text:
        return 0
    if text.isascii() and text.isdigit() and len(text) < 20:  # noqa: PLR2004 - digits of 2^63
        return int(text) & ((1 << 63) - 1)
    parts = text.split("-")
    if len(parts) == 3 and all(part.isascii() and part.isdigit() and len(part) < 20 for part in parts):  # noqa: PLR2004 - likewise
        domain, server, sequence = map(int, parts)
        if domain < 1 << 6 and server < 1 << 16 and sequence < 1 << 40:
            return domain << 56 | server << 40 | sequence
    hashed = hashlib.blake2b(text.encode(), digest_size=8, person=b"DLtx\x01").digest()
    return int.from_bytes(hashed, "big") >> 2 | 1 << 62
