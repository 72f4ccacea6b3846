"""`undo`: which repairs are meant, newest first, and that each goes out signed by the person."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.adapters.signing import SIGNERS, read_signers, verify
from app.cli.main import run
from app.cli.undo import Repairs, to_undo
from app.codec.contract_file import load_contracts
from app.core.command import Action, RepairCommand
from app.core.contract import EntityContract
from app.core.ledger import LedgerRow
from app.core.trust import SignerRole, distrust
from app.core.undo import undo_of
from app.settings import Settings
from app.topics import APPROVALS, REPAIRS
from tests.property.applier_world import World
from tests.signatures import ANNA, signed, word_on
from tests.unit.cli.desk import Desk
from tests.unit.cli.reading_world import CODEC, NOW_MS

ALL = Repairs((), frozenset(), 0, None, None, None)


def repaired() -> World:
    """Return a world in which a row was repaired three times, at 1, 2 and 3 s."""
    world = World("new", "old")
    for at_ms in (1_000, 2_000, 3_000):
        world.now_ms = at_ms
        world.target.put("orders", b"\x01key", {"value": "old", "note": "theirs"})
        world.applier().carry_out(world.command("old", "new"))
    return world


def times(rows: list[LedgerRow]) -> list[int]:
    """Return when the repairs were made."""
    return [row.written_at_ms for row in rows]


def test_repairs_are_taken_back_newest_first_and_each_once() -> None:
    """In turn, as they were made; what was undone already is left out, and so is what was refused."""
    world = repaired()
    world.applier().carry_out(world.command("moved", "new"))
    assert times(to_undo(world.target.ledger_rows(), ALL)) == [3_000, 2_000, 1_000]
    newest = to_undo(world.target.ledger_rows(), ALL)[0]
    contract = world.applier().contracts["orders"]
    undo = signed(undo_of(newest, contract, world.now_ms, 10_000), ANNA)
    assert world.applier().apply(undo, 0).reason is None
    assert times(to_undo(world.target.ledger_rows(), ALL)) == [2_000, 1_000]


def test_a_choice_means_what_it_names() -> None:
    """By command, by batch, by time, narrowed by store and entity."""
    rows = list(repaired().target.ledger_rows())
    first = rows[0]
    assert times(to_undo(rows, replace(ALL, since_ms=2_000))) == [3_000, 2_000]
    assert times(to_undo(rows, replace(ALL, since_ms=1_000, until_ms=2_000))) == [2_000, 1_000]
    assert to_undo(rows, Repairs((first.row_id.hex()[:8],), frozenset(), None, None, None, None)) == [first]
    assert to_undo(rows, Repairs((), frozenset({first.row_id}), None, None, None, None)) == [first]
    for narrowed in (replace(ALL, store="other"), replace(ALL, entity="other")):
        assert to_undo(rows, narrowed) == []


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Return a deployment at which anna sits, with a repaired target."""
    made = Desk(tmp_path, monkeypatch)
    rows = repaired().target
    monkeypatch.setattr("app.cli.applier.row_stores", lambda *_, **__: {"copy": rows})
    return made


def sent(desk: Desk) -> list[RepairCommand]:
    """Return the commands that were sent and acknowledged."""
    records = [r for r in desk.sink.sent[: desk.sink.flushed] if r.topic == REPAIRS.name("shop")]
    return [CODEC.read_command(record.value) for record in records]


def test_an_undo_is_a_signed_command_of_its_own(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """Shown first, sent on a word, believed as an approver's."""
    assert run(["undo", "--since", "1970-01-01T00:00:02Z"]) == 4
    assert sent(desk) == []
    capsys.readouterr()
    assert run(["-o", "json", "undo", "--since", "1970-01-01T00:00:02Z", "--yes"]) == 0
    shown: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    assert [each["was"] for each in shown] == ["updated", "updated"]
    signers = read_signers(desk.keys / SIGNERS)
    for command in sent(desk):
        assert (command.action, command.planned_at_ms) == (Action.RESTORE, NOW_MS)
        assert distrust(signers, verify, SignerRole.APPROVER, "shop", command, NOW_MS) is None
    assert len(sent(desk)) == 2


def test_what_a_person_asks_for_goes_under_the_token_of_its_target(desk: Desk) -> None:
    """Not under the one that the repair had: a fence may have been raised since."""
    desk.settings.stores["copy"] = replace(desk.settings.stores["my"], name="copy", fence_token=3)
    assert run(["undo", "--since", "1970-01-01T00:00:02Z", "--yes"]) == 0
    assert [command.fence_token for command in sent(desk)] == [3, 3]


def test_however_many_repairs_are_undone_the_contracts_are_read_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once to show keys and once to make commands; read for each repair, thousands of undos take an hour."""
    readings: list[Path] = []

    def counted(folder: Path, settings: Settings) -> tuple[EntityContract, ...]:
        readings.append(folder)
        return load_contracts(folder, settings)

    monkeypatch.setattr("app.codec.contract_file.load_contracts", counted)
    assert run(["undo", "--since", "1970-01-01T00:00:00Z", "--yes"]) == 0
    assert (len(sent(desk)), len(readings)) == (3, 2)


def test_what_was_aligned_is_shown_as_such(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is taken back like any repair: its ledger row names spellings where others name rows."""
    rows = repaired().target
    rows.ledger = {row_id: replace(row, action=Action.TRANSFORM) for row_id, row in rows.ledger.items()}
    monkeypatch.setattr("app.cli.applier.row_stores", lambda *_, **__: {"copy": rows})
    assert run(["-o", "json", "undo", "--since", "1970-01-01T00:00:03Z", "--yes"]) == 0
    assert [each["was"] for each in json.loads(capsys.readouterr().out)] == ["aligned"]
    (undo,) = sent(desk)
    (newest,) = to_undo(rows.ledger_rows(), replace(ALL, since_ms=3_000))
    assert (undo.expected_digest, undo.intended_digest) == (newest.intended_digest, newest.expected_digest)


def test_a_batch_is_undone_by_the_word_that_approved_it(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """Its members are in the word; one that was rejected, or that there is not, names nothing."""
    repairs = repaired()
    command = repairs.command("old", "new")
    command = replace(command, finding_id=(1).to_bytes(16, "big"))
    first = next(iter(repairs.target.ledger.values()))
    word = word_on([replace(command, command_id=first.row_id)], deployment="shop")
    assert run(["undo", "--batch", word.batch_id.hex()[:12], "--yes"]) == 2
    desk.put(APPROVALS, CODEC.approval(word))
    assert run(["undo", "--batch", word.batch_id.hex()[:12], "--yes"]) == 0
    assert [each.undoes for each in sent(desk)] == [first.row_id]
    assert run(["undo", "--batch", "0123456789ab", "--yes"]) == 2
    assert "no such batch was approved" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--store", "copy"], ["ffffffff"]])
def test_nothing_named_or_nothing_found_is_said_so(desk: Desk, arguments: list[str]) -> None:
    """Exit code 2, and nothing is sent."""
    assert run(["undo", *arguments, "--yes"]) == 2
    assert sent(desk) == []
