"""`batches`, `approve`, `reject` and `keys`: what a person reads, and what their word then says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.adapters.memory_rows import MemoryRows, plain_digest
from app.adapters.signing import SIGNERS, read_signers, verify
from app.cli.main import run
from app.codec.control import decode_control, encode_control
from app.core.approval import refusal_of
from app.core.canonical_key import key_writer
from app.core.command import Action, Outcome, RefusalReason
from app.core.contract import FieldKind, FieldType
from app.core.signing import id_of_member
from app.core.switch import Control, Said
from app.core.trust import SignerRole, distrust
from app.topics import CONTROL, REPAIRS
from tests.signatures import signed, word_on
from tests.unit.cli.desk import Desk
from tests.unit.cli.reading_world import CODEC, NOW_MS


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Return a deployment at which anna sits."""
    return Desk(tmp_path, monkeypatch)


def listed(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 4) -> list[dict[str, Any]]:
    """Return what a program is told by a command, and nothing of those before."""
    capsys.readouterr()
    assert run(["-o", "json", *arguments]) == code
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_a_batch_says_what_why_how_many_and_which_rows(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """A person reads what will be written before saying anything; exit code 4 while something waits."""
    assert listed(capsys, "batches", code=0) == []
    commands = [desk.propose() for _ in range(7)]
    desk.propose(
        action=Action.UPSERT,
        kind="stale",
        intended_digest=b"i" * 16,
        columns=("status",),
        reason="masses",
        policy_id=b"p" * 16,
    )
    delete, write = sorted(listed(capsys, "batches"), key=lambda batch: str(batch["action"]))
    assert delete["effect"] == "deletes 7 of shop.orders in my"
    assert (delete["why"], delete["rows"], delete["kinds"]) == ("deletes wait for a person", 7, {"extra": 7})
    assert len(delete["sample_keys"]) == 5
    assert set(delete["sample_keys"]) <= set("1234567")
    assert set(delete["commands"]) == {command.command_id.hex() for command in commands}
    assert (delete["persons_needed"], delete["approved_by"], delete["is_gathering"]) == (1, [], False)
    assert write["effect"] == "updates 1 of shop.orders in my, as pg has them"
    assert write["columns"] == {"status": 1}
    assert (delete["policy_ids"], write["policy_ids"]) == ([], [(b"p" * 16).hex()])
    rows = listed(capsys, "batches", delete["batch"])
    assert sorted(int(row["key"]) for row in rows) == list(range(1, 8))
    assert run(["batches"]) == 4
    assert "deletes 7 of shop.orders in my" in capsys.readouterr().out


def test_a_person_may_look_at_what_would_change_in_each_row(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Read from both stores as they are now; a row that moved on since says so, and no value is on a topic."""
    stores = {name: MemoryRows(("status", "note")) for name in ("pg", "my")}
    monkeypatch.setattr("app.cli.applier.row_stores", lambda *_, **__: stores)
    paid, sent = {"status": "paid", "note": None}, {"status": "sent\x1b[2J", "note": None}
    key = key_writer(FieldType(FieldKind.INT64))
    for number in (1, 2):
        stores["my"].put("orders", key(number), sent)
    stores["pg"].put("orders", key(3), paid)
    stores["pg"].put("orders", key(4), paid)
    stores["my"].put("orders", key(4), sent)
    desk.propose(expected_digest=plain_digest(sent))
    desk.propose()
    stale = {"action": Action.UPSERT, "kind": "stale", "intended_digest": plain_digest(paid), "reason": "masses"}
    for found in (b"", plain_digest(sent)):
        desk.propose(**stale, expected_digest=found)
    shown = {
        row["key"]: (row["changes"], row["rows_stand"])
        for batch in listed(capsys, "batches")
        for row in listed(capsys, "batches", batch["batch"], "--values")
    }
    assert shown == {
        "1": (["status: sent\x1b[2J -> no row", "note: NULL -> no row"], "as judged"),
        "2": (["status: sent\x1b[2J -> no row", "note: NULL -> no row"], "moved since"),
        "3": (["status: no row -> paid", "note: no row -> NULL"], "as judged"),
        "4": (["status: sent\x1b[2J -> paid"], "as judged"),
    }
    name = next(batch["batch"] for batch in listed(capsys, "batches") if batch["action"] == "upsert")
    assert run(["batches", name, "--values"]) == 4
    out = capsys.readouterr().out
    assert "status: sent\\x1b[2J -> paid" in out
    assert "\x1b" not in out
    assert run(["batches", "--values"]) == 2


def test_a_word_binds_the_batch_and_goes_to_each_of_its_partitions(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    """Signed by the person at the desk, over every command's content, for the policy's time."""
    commands = [desk.propose() for _ in range(3)]
    (batch,) = listed(capsys, "batches")
    assert run(["approve", batch["batch"], "--why", "seen with the owner"]) == 0
    assert "approved: 3, by anna; not spoken of: 0" in capsys.readouterr().err
    (word,) = desk.said()
    assert sorted(r.partition for r in desk.sink.sent) == [0, 1]
    assert word.batch_id.hex() == batch["batch_id"]
    assert {id_of_member(member) for member in word.members} == {command.command_id for command in commands}
    assert (word.approved, word.why, word.expires_at_ms) == (True, "seen with the owner", NOW_MS + 3_600_000)
    assert refusal_of(read_signers(desk.keys / SIGNERS), verify, "shop", word, NOW_MS) is None
    desk.hear(word)
    assert listed(capsys, "batches", code=0) == []


def test_a_batch_that_grew_after_it_was_read_is_not_approved(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """Its content is its name: another content has another."""
    desk.propose()
    (batch,) = listed(capsys, "batches")
    desk.propose()
    assert run(["approve", batch["batch"]]) == 2
    assert "its content has changed" in capsys.readouterr().err
    assert desk.said() == []


def test_a_no_is_signed_too_and_ends_the_matter(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """What was rejected waits no more, whatever is said after it."""
    command = desk.propose()
    (batch,) = listed(capsys, "batches")
    assert run(["reject", batch["batch"]]) == 0
    (word,) = desk.said()
    assert not word.approved
    desk.hear(word)
    desk.hear(word_on([command], desk.sit_down("bert"), said_at_ms=NOW_MS, deployment="shop"))
    assert listed(capsys, "batches", code=0) == []


def test_two_persons_answer_one_batch_one_after_the_other(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """It keeps its name between them, and the second sees who was first; the first cannot be the second."""
    desk.ask_for(persons=2)
    desk.propose()
    (batch,) = listed(capsys, "batches")
    assert run(["approve", batch["batch"]]) == 0
    desk.hear(desk.said()[-1])
    (again,) = listed(capsys, "batches")
    assert (again["batch"], again["approved_by"]) == (batch["batch"], ["anna"])
    desk.sit_down("anna")
    assert run(["approve", batch["batch"]]) == 0
    desk.hear(desk.said()[-1])
    assert [each["batch"] for each in listed(capsys, "batches")] == [batch["batch"]]
    desk.sit_down("bert")
    assert run(["approve", batch["batch"]]) == 0
    desk.hear(desk.said()[-1])
    assert listed(capsys, "batches", code=0) == []


def test_an_undo_waits_for_the_second_person(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """Who asked for it is the first; a planner may not ask, so what it signed is not shown."""
    desk.ask_for(persons=2, rehearsal="required")
    command = desk.propose(action=Action.RESTORE, undoes=b"u" * 16, intended_digest=b"i" * 16)
    assert listed(capsys, "batches", code=0) == []
    command = signed(command, desk.sit_down("anna"), "shop")
    desk.put(REPAIRS, CODEC.command(command))
    (batch,) = listed(capsys, "batches")
    effect = "updates 1 of shop.orders in my, as they were before a repair"
    assert (batch["effect"], batch["approved_by"]) == (effect, ["anna"])
    desk.sit_down("bert")
    assert run(["approve", batch["batch"]]) == 0
    (word,) = desk.said()
    assert CODEC.read_command(desk.sink.sent[-1].value) == command
    desk.hear(word)
    assert listed(capsys, "batches", code=0) == []


def test_an_undo_says_which_rows_it_deletes(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """Taking back an insert deletes the row: who is the second to say yes must know."""
    desk.ask_for(persons=2)
    anna, row = desk.sit_down("anna"), b"i" * 16
    for expected, intended in ((row, b""), (row, b""), (b"", row), (row, b"o" * 16)):
        undo = desk.propose(
            action=Action.RESTORE, undoes=b"u" * 16, expected_digest=expected, intended_digest=intended, reason="undone"
        )
        desk.put(REPAIRS, CODEC.command(signed(undo, anna, "shop")))
    (batch,) = listed(capsys, "batches")
    told = "deletes 2, inserts 1, updates 1 of shop.orders in my, as they were before a repair"
    assert batch["effect"] == told
    rows = listed(capsys, "batches", batch["batch"])
    assert sorted(each["action"] for each in rows) == ["delete", "delete", "insert", "restore"]


def test_what_is_done_over_or_not_the_planners_does_not_wait(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody is shown a forged proposal; a forged outcome of it does not hide the true one."""
    done, refused, held, disputed = (desk.propose() for _ in range(4))
    desk.propose(expires_at_ms=NOW_MS)
    asked = desk.propose(needs_approval=False)
    desk.propose(needs_approval=False)
    desk.end(done, Outcome.APPLIED)
    desk.end(refused, Outcome.REFUSED, RefusalReason.ROW_MOVED)
    desk.end(held, Outcome.HELD, RefusalReason.NOT_APPROVED)
    desk.end(asked, Outcome.HELD, RefusalReason.NOT_APPROVED)
    desk.end(disputed, Outcome.REFUSED, RefusalReason.FORGED)
    forged = replace(held, command_id=b"c" * 16, fence_token=9)
    desk.put(REPAIRS, CODEC.command(forged))
    (batch,) = listed(capsys, "batches")
    assert set(batch["commands"]) == {command.command_id.hex() for command in (held, asked, disputed)}


def test_a_choice_by_an_option_must_be_confirmed(desk: Desk) -> None:
    """Who names a batch has read it; who chooses otherwise says --yes, or is asked. A choice narrows what is signed."""
    one, other = desk.propose(), desk.propose()
    assert run(["approve", "--all"]) == 4
    assert desk.said() == []
    assert run(["approve", "--command", one.command_id.hex()[:8], "--yes"]) == 0
    (word,) = desk.said()
    assert [id_of_member(member) for member in word.members] == [one.command_id]
    assert run(["reject", "--finding", other.finding_id.hex(), "--entity", "others", "--yes"]) == 2
    assert run(["approve", "--incident", "ab" * 16, "--yes"]) == 2
    assert run(["approve", "12345678", "--all"]) == 2
    assert len(desk.said()) == 1


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda desk: (desk.keys / "approver.key").unlink(), "the key cannot be read"),
        (lambda desk: (desk.keys / "approver.key").chmod(0o644), "others may read this key"),
        (lambda desk: (desk.keys / "approver.key").write_bytes(b"x" * 32), "no approver's here"),
        (lambda desk: (desk.keys / "planner.key").replace(desk.keys / "approver.key"), "no approver's here"),
    ],
)
def test_without_an_approvers_key_nothing_is_said(
    desk: Desk,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Desk], object],
    what: str,
) -> None:
    """The error says which file, and what to do."""
    desk.propose()
    (batch,) = listed(capsys, "batches")
    spoil(desk)
    assert run(["approve", batch["batch"]]) == 2
    said = capsys.readouterr().err
    assert what in said
    assert "hint:" in said
    assert desk.said() == []


def test_keys_are_made_listed_and_replaced(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """A key that is there is not overwritten unawares; a new one is trusted beside the old."""
    assert run(["keys", "make", "approver", "anna"]) == 2
    assert "--replace" in capsys.readouterr().err
    before = (desk.keys / "approver.key").read_bytes()
    assert run(["keys", "make", "approver", "anna", "--replace"]) == 0
    line = capsys.readouterr().out.strip()
    assert line.startswith("approver anna ")
    assert (desk.keys / "approver.key").read_bytes() != before
    assert before.hex() not in line
    found = listed(capsys, "keys", "list", code=0)
    assert [(each["role"], each["person"]) for each in found] == [
        ("planner", "worker"),
        ("approver", "anna"),
        ("approver", "anna"),
    ]
    assert run(["keys", "make", "planner", "worker two"]) == 2
    assert run(["keys", "make", "owner", "anna"]) == 2


@pytest.mark.parametrize("name", ["1234567", "xyzxyzxyz", "", "12345678"])
def test_a_batch_that_there_is_not_says_what_to_do(desk: Desk, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Too short, no hex digits, or none of those that wait."""
    desk.propose()
    assert run(["batches", name]) == 2
    assert "driftline batches" in capsys.readouterr().err


def switched(desk: Desk) -> list[Control]:
    """Return the words on the topic of control that were acknowledged."""
    sent = [r for r in desk.sink.sent[: desk.sink.flushed] if r.topic == CONTROL.name("shop")]
    return [decode_control(record.value) for record in sent]


def test_the_help_of_pause_says_what_becomes_of_what_is_being_written(capsys: pytest.CaptureFixture[str]) -> None:
    """An applier takes it back where it reads the stop before the commit, as the page on repairs says."""
    assert run(["pause", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Stop the appliers before their next commit" in shown
    assert "what is being written is taken back" in shown


def test_a_panic_needs_no_key_and_leaves_a_file(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever may run the command stops: on this host at once, elsewhere by the topic."""
    (desk.keys / "approver.key").unlink()
    assert run(["panic", "--why", "it writes nonsense", "--by", "eve"]) == 0
    assert (desk.keys / "panic").exists()
    (word,) = switched(desk)
    assert (word.said, word.by, word.why) == (Said.PANIC, "eve", "it writes nonsense")
    assert run(["resume"]) == 2
    assert "the key cannot be read" in capsys.readouterr().err
    assert (desk.keys / "panic").exists()


def test_a_resume_is_an_approvers_word_on_the_stops_that_were_read(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signed, up to the last record, and the file of this host is taken away."""
    monkeypatch.setattr("app.cli.deployment.Deployment.log", desk.log, raising=False)
    run(["panic", "--by", "eve"])
    for _ in range(3):
        desk.put(CONTROL, encode_control(switched(desk)[-1]))
    assert run(["resume", "--why", "mended"]) == 0
    assert "lifted: panic by eve" in capsys.readouterr().err
    word = switched(desk)[-1]
    assert (word.said, word.by, word.lifts_through) == (Said.RESUME, "anna", 2)
    signers = read_signers(desk.keys / SIGNERS)
    assert distrust(signers, verify, SignerRole.APPROVER, "shop", word, NOW_MS) is None
    assert not (desk.keys / "panic").exists()
