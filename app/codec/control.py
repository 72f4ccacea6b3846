"""What a person says to the applier, as JSON on the topic `control`. The last word stands, also after a restart."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import Final

from app.core.errors import Undecodable

KEY: Final = b"repairs"
_BYTES_MAX: Final = 4_096


class Said(Enum):
    """Whether repairs may go on."""

    PAUSE = "pause"
    RESUME = "resume"


@dataclass(frozen=True, slots=True)
class Control:
    """One word, who said it, when (wall clock), and why."""

    said: Said
    by: str
    at_ms: int
    why: str = ""


def encode_control(control: Control) -> bytes:
    """Write a word."""
    return json.dumps(
        {"said": control.said.value, "by": control.by, "at_ms": control.at_ms, "why": control.why}
    ).encode()


def decode_control(value: bytes | None) -> Control:
    """Read a word; `Undecodable` if it is none."""
    try:
        found = json.loads((value or b"")[:_BYTES_MAX])
        return Control(Said(found["said"]), str(found["by"]), int(found["at_ms"]), str(found.get("why", "")))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Undecodable("control", "not a word of ours", hint="who else writes this topic?") from None
