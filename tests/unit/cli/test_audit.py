"""`audit`: what was altered, taken out, or never recorded, by store and place."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.adapters.memory_rows import CHAIN_KEY, MemoryRows
from app.cli.main import run
from app.core.command import Outcome
from app.topics import OUTCOMES
from tests.property.applier_world import World as Repairs
from tests.unit.cli.reading_world import CODEC, World


class Audited(World):
    """A deployment whose one target has a ledger of three repairs, told on the topic."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder, monkeypatch)
        (folder / "keys").mkdir()
        (folder / "keys" / "digest.key").write_bytes(CHAIN_KEY)
        (folder / "keys" / "digest.key").chmod(0o600)
        repairs = Repairs("new", "old")
        for expected in ("old", "old", "old"):
            outcome = repairs.applier().carry_out(repairs.command(expected, "new"))
            self.put(OUTCOMES, CODEC.outcome(outcome))
        self.rows: MemoryRows = repairs.target
        monkeypatch.setattr("app.cli.applier.row_stores", lambda *_, **__: {"copy": self.rows})


@pytest.fixture
def audited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Audited:
    """Return such a deployment."""
    return Audited(tmp_path, monkeypatch)


def told(capsys: pytest.CaptureFixture[str], code: int) -> list[tuple[str, int]]:
    """Return what was found, and where."""
    assert run(["-o", "json", "audit"]) == code
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return [(each["what"], each["sequence"]) for each in found]


def test_a_whole_ledger_is_said_to_be_so(audited: Audited, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, and how many rows were read."""
    assert run(["audit"]) == 0
    assert "store copy: 3 rows read" in capsys.readouterr().err
    assert len(audited.rows.ledger) == 3


def test_a_row_that_was_altered_or_taken_out_is_told_with_its_place(
    audited: Audited, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1; the last row is missed by its outcome."""
    first, second, third = audited.rows.ledger
    audited.rows.ledger[second] = replace(audited.rows.ledger[second], outcome=Outcome.HELD)
    assert told(capsys, 1) == [("altered", 2)]
    del audited.rows.ledger[second]
    assert told(capsys, 1) == [("missing", 2), ("not_recorded", 0)]
    del audited.rows.ledger[third]
    assert told(capsys, 1) == [("not_recorded", 0), ("not_recorded", 0)]
    assert list(audited.rows.ledger) == [first]
