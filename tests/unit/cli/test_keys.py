"""`keys rotate` and `keys masters`: the next master key, and what each one opens."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.adapters.image_seals import ImageSeals
from app.adapters.master_keys import FileMasterKeys, make_master_key
from app.adapters.seal import DeploymentSeals, Seal
from app.cli.main import run
from app.core.command import Outcome
from tests.property.applier_world import World as Repairs
from tests.unit.cli.reading_world import World


class Keyed(World):
    """A deployment with one master key and one repair in its ledger."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder, monkeypatch)
        self.keys = self.settings.master_keys_dir
        self.keys.mkdir(exist_ok=True)
        make_master_key(self.keys)
        self.repairs = Repairs("new", "old")
        images = ImageSeals(FileMasterKeys(self.keys))
        self.applier = replace(self.repairs.applier(), seals=DeploymentSeals(Seal([b"s" * 32]), images))
        self.repair()
        monkeypatch.setattr("app.cli.invocation.Invocation.settings", lambda _: self.settings)
        monkeypatch.setattr("app.cli.applier.row_stores", lambda *_, **__: {"copy": self.repairs.target})

    def repair(self) -> None:
        """Repair the row, whatever it was."""
        self.repairs.target.put("orders", b"\x01key", {"value": "old", "note": "theirs"})
        assert self.applier.carry_out(self.repairs.command("old", "new")).outcome is Outcome.APPLIED


@pytest.fixture
def keyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keyed:
    """Return such a deployment."""
    return Keyed(tmp_path, monkeypatch)


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> list[tuple[Any, ...]]:
    """Return number, what it does and how many images, of each master key."""
    assert run(["-o", "json", "keys", "masters", *arguments]) == code
    lines: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return [(line["number"], line["does"], line.get("images")) for line in lines]


def test_the_next_key_seals_and_the_one_before_opens(keyed: Keyed, capsys: pytest.CaptureFixture[str]) -> None:
    """An applier that runs takes it up by itself, and each key's images are counted."""
    assert told(capsys, "--used") == [(1, "seals and opens", 1)]
    assert run(["keys", "rotate"]) == 0
    assert "ledger.2.key" in capsys.readouterr().err
    for _ in range(2):
        keyed.repair()
    assert told(capsys) == [(2, "seals and opens", None), (1, "opens", None)]
    assert told(capsys, "--used") == [(2, "seals and opens", 2), (1, "opens", 1)]


def test_what_a_retired_key_sealed_is_told(keyed: Keyed, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 while the ledger holds images that no key here opens."""
    assert run(["keys", "rotate"]) == 0
    capsys.readouterr()
    (keyed.keys / "ledger.key").unlink()
    assert told(capsys) == [(2, "seals and opens", None)]
    assert told(capsys, "--used", code=1) == [(2, "seals and opens", None), (None, "is not here", 1)]
