"""How aggregates stand, as JSON on the topic `aggregates`; and the figures of a drift, which go sealed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

import msgspec

from app.core.aggregate_status import AggregateReason, AggregateStatus
from app.core.errors import Undecodable
from app.core.finding import Verdict

_BYTES_MAX: Final = 65_536
_BEGINS: Final = b'{"aggregate": '
_FIGURES: Final = frozenset({"aggregate", "group", "lowest", "highest", "shown"})


class _Status(msgspec.Struct):
    entity: str
    replica: str
    aggregate: str
    verdict: Verdict
    reason: AggregateReason | None
    groups: int
    open_drifts: int
    judged_through_ms: int | None
    behind_ms: int | None
    reported_at_wall_ms: int


def encode_aggregate(status: AggregateStatus) -> bytes:
    """Write how an aggregate stands."""
    return msgspec.json.encode(_Status(**asdict(status)))


def decode_aggregate(value: bytes | None) -> AggregateStatus:
    """Read how an aggregate stands; `Undecodable` if it is no word of ours."""
    try:
        found = msgspec.json.decode((value or b"")[:_BYTES_MAX], type=_Status)
    except (msgspec.MsgspecError, ValueError) as error:
        what = f"not a word of ours ({type(error).__name__})"
        raise Undecodable("aggregates", what, hint="who else writes this topic?") from None
    return AggregateStatus(**msgspec.structs.asdict(found))


def is_figures(opened: bytes) -> bool:
    """Tell whether what was sealed are figures and no key: no canonical key begins like this."""
    return opened.startswith(_BEGINS)


def group_text(figures: Mapping[str, Any]) -> str:
    """Return a group as text: the aggregate's name, and what the group is made by."""
    made_by = ", ".join(f"{name}={'NULL' if text is None else text}" for name, text in figures["group"].items())
    return f"{figures['aggregate']} of {made_by or 'all rows'}"


def read_figures(opened: bytes) -> dict[str, Any]:
    """Read what a drift of an aggregate was sealed with; `Undecodable` if it is none."""
    try:
        found = msgspec.json.decode(opened, type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError):
        found = {}
    if found.keys() != _FIGURES:
        raise Undecodable("figures", "what is sealed are no figures of an aggregate")
    return found
