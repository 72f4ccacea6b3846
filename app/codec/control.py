"""What a person says to the applier, as JSON on the topic `control`."""

from __future__ import annotations

import json
from typing import Final

from app.core.errors import Undecodable
from app.core.switch import Control, Said

KEY: Final = b"repairs"
_BYTES_MAX: Final = 4_096


def encode_control(control: Control) -> bytes:
    """Write a word."""
    told = {
        "said": control.said.value,
        "by": control.by,
        "at_ms": control.at_ms,
        "why": control.why,
        "lifts_through": control.lifts_through,
        "key_id": control.key_id.hex(),
        "signature": control.signature.hex(),
        "shard": control.shard,
    }
    return json.dumps(told).encode()


def decode_control(value: bytes | None) -> Control:
    """Read a word; `Undecodable` if it is none."""
    try:
        found = json.loads((value or b"")[:_BYTES_MAX])
        word = Control(
            said=Said(found["said"]),
            by=str(found["by"]),
            at_ms=int(found["at_ms"]),
            why=str(found.get("why", "")),
            lifts_through=int(found.get("lifts_through", -1)),
            key_id=bytes.fromhex(found.get("key_id", "")),
            signature=bytes.fromhex(found.get("signature", "")),
            shard=str(found.get("shard", "")),
        )
        # JSON can spell half of a character, over which nobody can have signed.
        (word.by + word.why + word.shard).encode()
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, AttributeError):
        raise Undecodable("control", "not a word of ours", hint="who else writes this topic?") from None
    return word
