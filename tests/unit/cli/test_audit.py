"""`audit`: what was altered, taken out, never recorded or not signed for, by store and place."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.adapters.memory_rows import CHAIN_KEY, MemoryRows
from app.adapters.signing import verify
from app.cli.main import run
from app.core.command import Outcome
from app.core.history.changes import Belief
from app.core.ledger import LedgerRow
from app.topics import APPROVALS, CONTROL, OUTCOMES, REPAIRS, Topic
from tests.property.applier_world import POLICY
from tests.property.applier_world import World as Repairs
from tests.signatures import ANNA, DEPLOYMENT, SIGNERS, STRANGER, signed, word_on
from tests.unit.cli.reading_world import CODEC, World


class Audited(World):
    """A deployment whose one target has a ledger of three repairs, told on the topic."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder, monkeypatch)
        (folder / "keys").mkdir()
        (folder / "keys" / "digest.key").write_bytes(CHAIN_KEY)
        (folder / "keys" / "digest.key").chmod(0o600)
        self.repairs = repairs = Repairs("new", "old")
        for expected in ("old", "old", "old"):
            outcome = repairs.applier().carry_out(repairs.command(expected, "new"))
            self.put(OUTCOMES, CODEC.outcome(outcome))
        self.rows: MemoryRows = repairs.target
        self.belief = Belief(DEPLOYMENT, SIGNERS, verify)
        monkeypatch.setattr("app.cli.applier.row_stores", lambda *_, **__: {"copy": self.rows})
        monkeypatch.setattr("app.cli.audit.belief_of", lambda _: self.belief)
        monkeypatch.setattr("app.cli.audit.approver_key", lambda _: (ANNA, "anna"))
        monkeypatch.setattr("app.cli.signed_heads.belief_of", lambda _: self.belief)
        for topic in (APPROVALS, CONTROL):
            self.log.topics.setdefault(topic.name("shop"), [])


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


def test_an_insert_without_its_check_and_one_taken_back_without_the_row_of_that_are_told(
    audited: Audited, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those rows are their partition's last, so that no link is broken where they were."""
    for moves in (False, True):
        repairs = Repairs("new", None)

        def move(step: str, *, moves: bool = moves, repairs: Repairs = repairs) -> None:
            if moves and step == "committed":
                repairs.authority.put("orders", b"\x01key", {"value": "newer", "note": ""})

        outcome = repairs.applier(move).carry_out(repairs.command(None, "new"))
        assert outcome.outcome is (Outcome.INVERTED if moves else Outcome.APPLIED)
        audited.log.topics[OUTCOMES.name("shop")] = audited.log.topics[OUTCOMES.name("shop")][:0]
        audited.put(OUTCOMES, CODEC.outcome(outcome))
        audited.rows.ledger.clear()
        audited.rows.ledger.update(repairs.target.ledger)
        assert told(capsys, 0) == []
        while len(audited.rows.ledger) > 1:
            audited.rows.ledger.popitem()
            assert told(capsys, 1) == [("not_recorded", 0)]


def approved(audited: Audited) -> bytes:
    """Let a delete be made in Anna's name, and its command be on its topic; return its word."""
    repairs = Repairs(None, "extra", replace(POLICY, deletes_wait=True))
    command = signed(replace(repairs.command("extra", None), needs_approval=True))
    repairs.say(command)
    audited.put(OUTCOMES, CODEC.outcome(repairs.applier().carry_out(command)))
    audited.put(REPAIRS, CODEC.command(command))
    audited.rows.ledger.clear()
    audited.rows.ledger.update(repairs.target.ledger)
    audited.log.topics[OUTCOMES.name("shop")] = audited.log.topics[OUTCOMES.name("shop")][-1:]
    return CODEC.approval(word_on([command]))


def test_a_row_in_the_name_of_somebody_who_has_not_signed_is_told(
    audited: Audited, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 without her word, 3 where her key is not trusted any more, 0 with it."""
    word = approved(audited)
    assert told(capsys, 1) == [("not_signed_for", 1)]
    audited.put(APPROVALS, word)
    audited.belief = Belief(DEPLOYMENT, {k: s for k, s in SIGNERS.items() if k != ANNA.key_id}, verify)
    assert told(capsys, 3) == [("word_not_proven", 1)]
    audited.belief = Belief(DEPLOYMENT, SIGNERS, verify)
    assert told(capsys, 0) == []


def test_a_word_that_was_said_while_the_ledger_was_read_counts(
    audited: Audited, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The applier goes on meanwhile: what it wrote last was let go after the words had been read."""
    word, rows = approved(audited), list(audited.rows.ledger.values())

    def read_slowly() -> list[LedgerRow]:
        audited.put(APPROVALS, word)
        return rows

    monkeypatch.setattr(audited.rows, "ledger_rows", read_slowly)
    assert told(capsys, 0) == []


def test_where_kafka_deleted_commands_a_name_without_a_word_is_not_proven(
    audited: Audited, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asked for the command may have signed the command itself, and nothing else."""
    approved(audited)
    audited.log.topics[REPAIRS.name("shop")].clear()
    assert told(capsys, 1) == [("not_signed_for", 1)]
    monkeypatch.setattr(
        audited.log, "ends", lambda topics, **_: {(t, 0): int(t == REPAIRS.name("shop")) for t in topics}
    )
    assert told(capsys, 3) == [("word_not_proven", 1)]


@pytest.mark.parametrize("topic", [APPROVALS, OUTCOMES, CONTROL])
def test_records_that_were_deleted_from_a_topic_that_keeps_all_are_told(
    audited: Audited, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, topic: Topic
) -> None:
    """Whoever administers Kafka can delete them, and not without a trace; other topics forget by themselves."""
    begins = {each.name("shop"): 7 if each is topic else 3 for each in (topic, REPAIRS)}
    monkeypatch.setattr(audited.log, "ends", lambda topics, **_: {(each, 0): begins.get(each, 0) for each in topics})
    assert told(capsys, 1) == [("deleted", 7)]


def heads_of_now(audited: Audited, folder: Path) -> Path:
    """Write heads of the ledger as it is, and return their file."""
    file = folder / "heads.json"
    assert run(["audit", "--write-heads", str(file)]) == 0
    assert json.loads(file.read_text())["chains"][0]["sequence"] == len(audited.rows.ledger)
    return file


def against(capsys: pytest.CaptureFixture[str], file: Path, code: int) -> list[tuple[str, str, int]]:
    """Return what was found against heads of a file: what, of which store or topic, and where."""
    capsys.readouterr()
    assert run(["-o", "json", "audit", "--against", str(file)]) == code
    found = json.loads(capsys.readouterr().out)
    return [(each["what"], each["store"] or each["topic"], each["sequence"]) for each in found]


def test_a_ledgers_end_that_is_gone_with_its_outcomes_is_missed_by_a_head_that_was_kept(
    audited: Audited, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the head nothing tells of it: the chain is whole up to its end, and no outcome asks for more."""
    file = heads_of_now(audited, tmp_path)
    assert against(capsys, file, 0) == []
    audited.repairs.applier().carry_out(audited.repairs.command("old", "new"))
    assert len(audited.rows.ledger) == 4
    assert against(capsys, file, 0) == []
    for _ in range(2):
        audited.rows.ledger.popitem()
    audited.log.topics[OUTCOMES.name("shop")].pop()
    assert told(capsys, 0) == []
    assert against(capsys, file, 1) == [("head_gone", OUTCOMES.name("shop"), 3), ("head_gone", "copy", 3)]


def test_a_topic_that_was_made_anew_is_missed_however_much_stands_in_it(
    audited: Audited, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The broker gives it another id; a topic of which nothing stood there then has lost nothing."""
    file = heads_of_now(audited, tmp_path)
    audited.log.made_anew += [OUTCOMES.name("shop"), CONTROL.name("shop")]
    assert against(capsys, file, 1) == [("head_gone", OUTCOMES.name("shop"), 3)]


def test_a_ledger_that_was_made_anew_or_is_audited_no_more_is_missed(
    audited: Audited, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many rows with links of the right key are not those that stood there."""
    file = heads_of_now(audited, tmp_path)
    repairs = Repairs("new", "old")
    for _ in range(3):
        repairs.applier().carry_out(repairs.command("old", "other"))
    audited.rows.ledger.clear()
    audited.rows.ledger.update(repairs.target.ledger)
    audited.log.topics[OUTCOMES.name("shop")][:] = [
        replace(each, value=b"") for each in audited.log.topics[OUTCOMES.name("shop")]
    ]
    assert against(capsys, file, 1) == [("head_gone", "copy", 3)]
    monkeypatch.setattr("app.cli.applier.row_stores", lambda *_, **__: {})
    assert against(capsys, file, 1) == [("head_gone", "copy", 3)]


def test_heads_that_nobody_has_signed_are_not_believed(
    audited: Audited, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Altered, of somebody whose key is not trusted, of another deployment, or no heads at all: exit code 2."""
    file = heads_of_now(audited, tmp_path)
    written = file.read_text()
    for altered, why in (
        (written.replace('"sequence": 3', '"sequence": 2'), "forged"),
        (written.replace('"next_offset": 3', '"next_offset": 2'), "forged"),
        (written.replace(ANNA.key_id.hex(), STRANGER.key_id.hex()), "unknown_key"),
        (written.replace('"shop"', '"other"'), "another deployment"),
        (written[:-9], "not a file of heads"),
        ("[" * 100_000, "not a file of heads"),
    ):
        assert altered != written
        file.write_text(altered)
        capsys.readouterr()
        assert run(["audit", "--against", str(file)]) == 2
        assert why in capsys.readouterr().err


def test_nobody_signs_a_ledger_that_is_broken(
    audited: Audited, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Heads of it would say later that all is as it was."""
    del audited.rows.ledger[list(audited.rows.ledger)[1]]
    file = tmp_path / "heads.json"
    assert run(["audit", "--write-heads", str(file)]) == 1
    assert "was not written" in capsys.readouterr().err
    assert not file.exists()
    assert run(["audit", "--write-heads", str(file), "--despite-breaks"]) == 1
    assert against(capsys, file, 1)[0][0] == "missing"
    assert "as of 2026-11-23T19:00:00.000Z, signed by anna" in _told_against(capsys, file)


def _told_against(capsys: pytest.CaptureFixture[str], file: Path) -> str:
    run(["audit", "--against", str(file)])
    return capsys.readouterr().err


def test_heads_that_would_not_be_believed_or_are_of_a_part_alone_are_not_written(
    audited: Audited, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key whose time is over signs nothing that counts; one target alone would leave the others unheld."""
    file = tmp_path / "heads.json"
    over = replace(SIGNERS[ANNA.key_id], until_ms=1)
    audited.belief = Belief(DEPLOYMENT, {**SIGNERS, ANNA.key_id: over}, verify)
    assert run(["audit", "--write-heads", str(file)]) == 2
    assert "outdated_key" in capsys.readouterr().err
    assert run(["audit", "--write-heads", str(file), "--store", "copy"]) == 2
    assert "leave --store out" in capsys.readouterr().err
    assert not file.exists()
    assert run(["audit", "--store", "nosuch"]) == 2
    assert "no target is named nosuch" in capsys.readouterr().err
