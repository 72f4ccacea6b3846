"""`undo`: which repairs are meant, newest first, and that each goes out signed by the person."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.adapters.signing import SIGNERS, SigningKey, read_signers, verify
from app.cli.main import run
from app.cli.undo import Repairs, approved_members, to_undo
from app.codec.contract_file import load_contracts
from app.codec.rendering import wall_text
from app.core.command import Action, Approval, Outcome, RefusalReason, RepairCommand, undo_id
from app.core.contract import EntityContract
from app.core.errors import ContractViolation
from app.core.history.changes import Belief
from app.core.ledger import LedgerRow
from app.core.signing import id_of_member
from app.core.trust import SignerRole, distrust
from app.core.undo import undo_of
from app.settings import Settings
from app.topics import OUTCOMES, REPAIRS
from tests.property.applier_world import World
from tests.signatures import ANNA, STRANGER, signed, signed_word, word_on
from tests.unit.cli.answering import APPLIED, SILENCE, Answer, Answering, held, refused
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


@pytest.fixture(autouse=True)
def answering(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Answering:
    """Return the applier that answers; everything is applied."""
    return Answering(desk, monkeypatch)


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


def came_to(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> list[str]:
    """Undo all repairs of the one row; return what is said of it behind what was sent."""
    capsys.readouterr()
    assert run(["undo", "--since", "1970-01-01T00:00:00Z", "--yes", *arguments]) == code
    first, *others = capsys.readouterr().err.splitlines()
    assert first == "sent: 1, by anna; `driftline explain` shows what came of each"
    return others


def test_a_rows_repairs_are_taken_back_one_after_the_other(
    desk: Desk, capsys: pytest.CaptureFixture[str], answering: Answering
) -> None:
    """The next is sent when the one before it is applied: were it there before, it would be refused for good."""
    came: list[bytes] = []

    def one_at_a_time(command: RepairCommand) -> Answer:
        came.append(command.undoes)
        return held(RefusalReason.ROW_LOCKED) if len(came) <= 2 else APPLIED

    answering.by = one_at_a_time
    assert came_to(capsys, 0) == ["of 3: 3 applied"]
    newest, middle, oldest = (row.row_id for row in to_undo(repaired().target.ledger_rows(), ALL))
    assert came == [newest, newest, newest, middle, oldest]
    assert len(sent(desk)) == len(came)


def test_what_is_held_for_a_while_is_sent_again_byte_for_byte(
    capsys: pytest.CaptureFixture[str], answering: Answering
) -> None:
    """Until it is through or the time is over: then what is left is said, and what to do."""
    answering.by = lambda _: held(RefusalReason.KEY_NOT_HELD)
    said = came_to(capsys, 3, "--wait", "20s")
    assert said[:2] == [
        "of 3: 1 held (key_not_held), 2 not sent",
        "driftline: still held: 1; nobody sends them again: ask again once the reason is gone",
    ]
    assert said[2].startswith("driftline: not sent: 2; each comes after another on its row")
    # Pauses of 1, 2, 4 and 8 seconds, and one in which each answer comes.
    assert answering.came_s == [0, 2, 5, 10, 19]
    assert len(set(answering.values)) == 1


def test_nothing_is_sent_behind_a_refusal(capsys: pytest.CaptureFixture[str], answering: Answering) -> None:
    """And nothing is waited for: exit code 4."""
    answering.by = lambda _: refused(RefusalReason.ROW_MOVED)
    assert came_to(capsys, 4)[0] == "of 3: 2 not sent, 1 refused (row_moved)"
    assert answering.came_s == [0]
    assert answering.now_s == 0


def test_what_needs_another_person_is_said_and_not_sent_again(
    capsys: pytest.CaptureFixture[str], answering: Answering
) -> None:
    """That person's word sends it."""
    answering.by = lambda _: held(RefusalReason.SECOND_PERSON)
    said = came_to(capsys, 3)
    assert said[:2] == [
        "of 3: 1 held (second_person), 2 not sent",
        "driftline: held for another person's word: 1; `driftline approve` sends them again with it",
    ]
    assert (answering.came_s, answering.now_s) == ([0], 0)


def test_an_applier_that_says_nothing_is_waited_for_and_told(
    capsys: pytest.CaptureFixture[str], answering: Answering
) -> None:
    """It may be paused: then it answers nothing at all."""
    answering.by = lambda _: SILENCE
    assert came_to(capsys, 3)[:2] == [
        "of 3: 1 not answered, 2 not sent",
        "driftline: not answered in time: 1; are the appliers up, and not paused?",
    ]
    assert (answering.came_s, answering.now_s) == ([0], 61)


def test_without_waiting_the_first_of_each_row_is_sent(
    desk: Desk, capsys: pytest.CaptureFixture[str], answering: Answering
) -> None:
    """Nobody is blamed for not answering."""
    (summary, unsent) = came_to(capsys, 3, "--wait", "0s")
    assert summary == "of 3: 1 not answered, 2 not sent"
    assert unsent.startswith("driftline: not sent: 2;")
    assert (len(sent(desk)), answering.came_s) == (1, [])
    assert run(["undo", "--since", "1h", "--for", "0s"]) == 2


def test_an_outcome_from_before_is_no_answer_and_an_unreadable_one_stops_nothing(
    desk: Desk, capsys: pytest.CaptureFixture[str], answering: Answering
) -> None:
    """An earlier asking for the same has the same id."""
    (newest, *_) = to_undo(repaired().target.ledger_rows(), ALL)
    desk.end(replace(repaired().command("old", "new"), command_id=undo_id(newest.row_id)), Outcome.APPLIED)

    def unreadable_first(_command: RepairCommand) -> Answer:
        desk.put(OUTCOMES, b"no outcome")
        return refused(RefusalReason.NOT_UNDOABLE)

    answering.by = unreadable_first
    assert came_to(capsys, 4)[0] == "of 3: 2 not sent, 1 refused (not_undoable)"


def test_what_is_known_is_told_also_where_a_person_stops_waiting(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent is on its way."""

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(desk.log, "on_and_on", stopped)
    assert came_to(capsys, 130)[0] == "of 3: 1 not answered, 2 not sent"


def approved(number: int, key: SigningKey, *, is_yes: bool = True, rehearses: bool = False) -> Approval:
    """Return a person's word on a batch of one: a repair that the ledger has."""
    world = repaired()
    row = list(world.target.ledger.values())[number]
    command = replace(world.command("old", "new"), command_id=row.row_id)
    said_at_ms = NOW_MS - 3_600_000
    return word_on([command], key, approved=is_yes, rehearses=rehearses, said_at_ms=said_at_ms, deployment="shop")


def undone(desk: Desk, word: Approval) -> list[bytes]:
    """Have the batch of a word undone; return the repairs that are taken back."""
    before = len(sent(desk))
    run(["undo", "--batch", word.batch_id.hex()[:12], "--yes"])
    return [each.undoes for each in sent(desk)[before:]]


def test_a_batch_is_undone_by_the_word_that_approved_it(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """Its members are in the word; one that was rejected, or that there is not, names nothing."""
    anna = desk.sit_down("anna")
    word, no = approved(0, anna), approved(1, anna, is_yes=False)
    assert undone(desk, word) == []
    for partition_of_its_own in (word, word, no):
        desk.hear(partition_of_its_own)
    assert undone(desk, word) == [id_of_member(word.members[0])]
    assert undone(desk, no) == []
    assert run(["undo", "--batch", "0123456789ab", "--yes"]) == 2
    said = capsys.readouterr().err
    assert "batch 0123456789ab: no such batch was approved" in said
    assert "hint:" in said


def with_more(anna: SigningKey) -> Approval:
    """Return Anna's word with the id of another repair added to its members, under its true name and signature."""
    true = approved(0, anna)
    return replace(true, members=true.members + approved(1, anna).members)


ABUSES: dict[str, tuple[Callable[[SigningKey, SigningKey], Approval], str]] = {
    "members were added": (lambda anna, _: with_more(anna), "altered"),
    "members were added, signed by a stranger": (lambda anna, _: signed_word(with_more(anna), STRANGER), "altered"),
    "a stranger's": (lambda *_: approved(0, STRANGER), "unknown_key"),
    "a stranger's under a name": (lambda anna, _: replace(approved(0, STRANGER), key_id=anna.key_id), "forged"),
    "the planner's": (lambda _, planner: approved(0, planner), "wrong_role"),
    "nobody's": (lambda anna, _: replace(approved(0, anna), signature=b""), "forged"),
    "a no that was turned": (lambda anna, _: replace(approved(0, anna, is_yes=False), approved=True), "forged"),
    "a rehearsal that was turned": (
        lambda anna, _: replace(approved(0, anna, is_yes=False, rehearses=True), approved=True, rehearses=False),
        "forged",
    ),
    "a rehearsal and a yes": (lambda anna, _: replace(approved(0, anna), rehearses=True), "unreadable"),
    "one that never ends": (
        lambda anna, _: signed_word(replace(approved(0, anna), expires_at_ms=1 << 60), anna, "shop"),
        "unreadable",
    ),
    "one member twice": (
        lambda anna, _: replace(approved(0, anna), members=approved(0, anna).members * 2),
        "unreadable",
    ),
    "another deployment's": (lambda anna, _: signed_word(approved(0, anna), anna, "else"), "forged"),
}


@pytest.mark.parametrize(("abuse", "reason"), ABUSES.values(), ids=list(ABUSES))
def test_a_word_that_no_applier_would_hear_names_no_repairs(
    desk: Desk,
    capsys: pytest.CaptureFixture[str],
    abuse: Callable[[SigningKey, SigningKey], Approval],
    reason: str,
) -> None:
    """Who may write the topic cannot have an approver sign an undo of what the batch never was; a true word counts."""
    anna = desk.sit_down("anna")
    word = abuse(anna, desk.planner)
    desk.hear(word)
    assert undone(desk, word) == []
    said = capsys.readouterr().err
    assert f"not believed ({reason})" in said
    assert "hint:" in said
    true = approved(0, anna)
    desk.hear(true)
    assert undone(desk, true) == [id_of_member(true.members[0])]


def test_a_word_of_one_who_left_after_it_counts_and_of_one_before_it_does_not(desk: Desk) -> None:
    """Trust is that of when it was said."""
    signers = desk.keys / SIGNERS
    word = approved(0, desk.sit_down("bert"))
    desk.hear(word)
    kept, lines = signers.read_text(), signers.read_text().splitlines()
    left = [line for line in lines if " bert " in line]
    assert len(left) == 1
    signers.write_text(kept.replace(left[0], f"{left[0]} until {wall_text(word.said_at_ms)}"))
    desk.sit_down("anna")
    assert undone(desk, word) == []
    signers.write_text(signers.read_text().replace(wall_text(word.said_at_ms), wall_text(word.said_at_ms + 1)))
    assert undone(desk, word) == [id_of_member(word.members[0])]


def test_digits_that_name_several_batches_name_none(desk: Desk) -> None:
    """Nobody is asked which: more digits say it."""
    anna = desk.sit_down("anna")
    belief = Belief("shop", read_signers(desk.keys / SIGNERS), verify)
    words = [approved(number, anna) for number in (0, 1)]
    with pytest.raises(ContractViolation, match="several approved batches begin so"):
        approved_members(words, belief, "")
    assert approved_members([words[0], words[0]], belief, "") == words[0].members


@pytest.mark.parametrize("arguments", [[], ["--store", "copy"], ["ffffffff"]])
def test_nothing_named_or_nothing_found_is_said_so(desk: Desk, arguments: list[str]) -> None:
    """Exit code 2, and nothing is sent."""
    assert run(["undo", *arguments, "--yes"]) == 2
    assert sent(desk) == []
