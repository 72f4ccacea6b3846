"""What a format's first version wrote is what today's writes, and it is read on: else `STATE_FORMAT` must rise.

`python -m tests.unit.core.test_state_format` keeps what a new format writes. The file of a format that was released is
never written again.
"""

from __future__ import annotations

import json
from pathlib import Path

from app.core.finding import Stage
from app.core.state_identity import STATE_FORMAT
from tests.unit.core.story import Story

KEPT = Path(__file__).parents[2] / "data" / f"state_format_{STATE_FORMAT}.json"
RAW = {"A": "its", "R": "own"}


def _told() -> Story:
    """Tell of a row at rest, one that is absent, one on its way, one at odds for long, and one that drifts."""
    story = Story()
    for key in ("at rest", "absent", "drifts", "at odds"):
        for store, raw in RAW.items():
            story.row(store, "1", key=key, raw=raw, transaction=5, snapshot=True)
    story.until(500, 3_000)
    for store, raw in RAW.items():
        story.row(store, "", key="absent", raw=raw)
    story.row("R", "2", key="drifts", raw=RAW["R"])
    story.until(3_500, 8_000)
    for value in ("3", "4", "5"):
        story.row("A", value, key="at odds", raw=RAW["A"])
    story.row("A", "6", key="on its way", raw=RAW["A"], transaction=6, created=True)
    return story


def _as_text(table: dict[bytes, bytes]) -> dict[str, str]:
    return {key.hex(): value.hex() for key, value in sorted(table.items())}


def test_the_same_is_written_as_by_the_first_version_of_this_format() -> None:
    """A byte more or less, and states in the field are of another format than their name says."""
    assert _as_text(_told().table) == json.loads(KEPT.read_text(encoding="utf-8"))


def test_what_the_first_version_wrote_is_read_on() -> None:
    """A worker that starts on it knows the open drift and the rows that wait, and says what the first one would."""
    kept, begun = _told(), _told()
    texts = json.loads(KEPT.read_text(encoding="utf-8"))
    kept.table = {bytes.fromhex(key): bytes.fromhex(value) for key, value in texts.items()}
    for story in (kept, begun):
        story.findings.clear()
        story.restart()
        story.row("R", "5", key="at odds", raw=RAW["R"])
        story.row("R", "1", key="drifts", raw=RAW["R"])
        story.until(8_500, 13_000)
    assert kept.findings == begun.findings
    assert kept.stages("drifts") == [Stage.RESOLVED]
    assert kept.stages("at odds") == []
    assert kept.stages("on its way") == [Stage.CONFIRMED]
    assert kept.table == begun.table


if __name__ == "__main__":
    KEPT.write_text(json.dumps(_as_text(_told().table), indent=1) + "\n", encoding="utf-8")
