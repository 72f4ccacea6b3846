"""`history`: who changed this row, why, on what evidence, and was it right; by row, batch, person and time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.adapters.signing import SigningKey, signer_line
from app.cli.main import run
from app.core.command import Action, Outcome, RefusalReason, RepairCommand
from app.core.contract import RepairMode, RepairPolicy
from app.core.digest import keyed_hash
from app.core.finding import Finding, Stage
from app.core.signing import signed_form
from app.core.trust import SignerRole
from app.topics import APPROVALS, DRIFTS, OUTCOMES, REHEARSALS, REPAIRS
from tests.property.history_records import CODEC, COMMAND, DEPLOYMENT, outcome, rehearsal, word
from tests.signatures import ANNA, BERT, PLANNER, STRANGER, signed, word_on
from tests.unit.cli.reading_world import NOW_MS, stale
from tests.unit.cli.test_explain import OrderWorld


class Repaired(OrderWorld):
    """A deployment in which row 7 drifted, and was repaired with Anna's word."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder, monkeypatch)
        self.trust(anna=True)
        self.command = self.of_row(7, COMMAND)

    def trust(self, *, anna: bool) -> None:
        """Write the list of signers, with or without Anna."""
        keys = [(SignerRole.PLANNER, "worker-1", PLANNER), (SignerRole.APPROVER, "bert", BERT)]
        keys += [(SignerRole.APPROVER, "anna", ANNA)] if anna else []
        file = self.settings.keys_dir / "signers"
        file.write_text("".join(signer_line(role, person, key.public_key) + "\n" for role, person, key in keys))
        file.chmod(0o600)

    def of_row(self, number: int, command: RepairCommand, **changes: object) -> RepairCommand:
        """Return a command on a row, signed by the planner."""
        key = self.key(number)
        named = {"key_hash": keyed_hash(self.digest_key, self.contract.number, key)}
        named["sealed_key"] = self.seals.seal_key("orders", key)
        changed: RepairCommand = replace(command, **{**named, **changes})  # type: ignore[arg-type]  # by name
        return signed(changed, deployment=DEPLOYMENT)

    def drift(self, stage: Stage, command: RepairCommand, at: int, **changes: object) -> None:
        """Tell a step of the drift that a command is about."""
        told = stale(stage, finding_id=command.finding_id, command_id=command.command_id, **changes)
        self.put(
            DRIFTS,
            CODEC.finding(replace(told, sealed_key=command.sealed_key, key_hash=command.key_hash)),
            NOW_MS + at,
        )

    def repair(self, command: RepairCommand, *, verified: bool = True) -> None:
        """Tell the whole life of a repair."""
        self.drift(Stage.CONFIRMED, command, 1)
        self.drift(Stage.OVERTAKEN, command, 2)
        self.put(REPAIRS, CODEC.command(command), NOW_MS + 3)
        self.put(APPROVALS, CODEC.approval(word([command])), NOW_MS + 4)
        self.put(OUTCOMES, CODEC.outcome(outcome(command)), NOW_MS + 5)
        if verified:
            self.drift(Stage.VERIFIED, command, 6)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repaired:
    """Return such a deployment; its topics are empty so far."""
    return Repaired(tmp_path, monkeypatch)


Asked = tuple[int, list[dict[str, Any]]]


def asked(capsys: pytest.CaptureFixture[str], *question: str) -> Asked:
    """Project what there is, ask, and return the exit code and the answer."""
    assert run(["history", "follow", "--once"]) == 0
    capsys.readouterr()
    code = run(["-o", "json", "history", *question])
    told: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return code, told


def test_a_row_says_who_changed_it_why_on_what_evidence_and_that_it_was_right(
    world: Repaired, capsys: pytest.CaptureFixture[str]
) -> None:
    """Planner and approver by their signatures, the verdict judged again from what it cites, verified by the log."""
    world.repair(world.command)
    code, [told] = asked(capsys, "row", "orders", "7")
    assert code == 0
    assert told["who"] == "worker-1, anna approved"
    assert told["why"] == "stale in amount: overtaken"
    assert [(step["stage"], step["judged_again"]) for step in told["drift"]] == [
        ("confirmed", "same"),
        ("overtaken", "same"),
        ("verified", "not_judged"),
    ]
    assert told["drift"][0]["evidence"]["replica_stays"][0]["topic"] == "my.shop.orders"
    assert (told["outcome"], told["right"], told["outcomes"][0]["transaction"]) == ("applied", "verified", "0-1-9")
    assert asked(capsys, "row", "orders", "8") == (0, [])


def test_a_person_reads_it_as_a_list_of_what_happened(world: Repaired, capsys: pytest.CaptureFixture[str]) -> None:
    """In the order of time, with a last line that says whether it was right."""
    world.repair(world.command)
    asked(capsys, "row", "orders", "7")
    assert run(["history", "row", "orders", "7"]) == 0
    shown = capsys.readouterr().out
    whats = ("drift confirmed", "drift overtaken", "command upsert", "approved", "applied", "drift verified")
    places = [shown.index(what) for what in whats]
    assert places == sorted(places)
    assert shown.splitlines()[-1] == "my: stale in amount: overtaken; applied; verified"


def test_a_rehearsal_is_told_with_its_command_and_is_no_word_of_yes(
    world: Repaired, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it would touch stands there; what was tried under another content is not this command's."""
    command = world.of_row(7, COMMAND)
    world.put(REPAIRS, CODEC.command(command))
    question = word_on([command], approved=False, rehearses=True, said_at_ms=NOW_MS, life_ms=9, deployment=DEPLOYMENT)
    world.put(APPROVALS, CODEC.approval(question), NOW_MS + 1)
    world.put(REHEARSALS, CODEC.rehearsal(rehearsal(command)), NOW_MS + 2)
    world.put(REHEARSALS, CODEC.rehearsal(rehearsal(replace(command, fence_token=9))), NOW_MS + 3)
    _, (told,) = asked(capsys, "row", "orders", "7")
    assert [(each["would"], each["touches"]) for each in told["rehearsals"]] == [("write", ["shop.orders: 1 updated"])]
    assert "anna asked for a rehearsal" in told["who"]
    assert told["right"] == "not_written"
    assert run(["history", "row", "orders", "7"]) == 0
    assert "would write" in capsys.readouterr().out


def test_keys_are_sealed_in_the_history_and_open_for_those_who_hold_the_key(
    world: Repaired, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not in the file, and shown only when asked for."""
    command = world.of_row(7_777_777, COMMAND)
    world.repair(command)
    _, [told] = asked(capsys, "changes", "--since", "2h")
    assert told["key"] == ""
    assert b"7777777" not in world.settings.history_file.read_bytes()
    assert world.key(7_777_777).hex().encode() not in world.settings.history_file.read_bytes()
    _, [told] = asked(capsys, "changes", "--since", "2h", "--keys")
    assert told["key"] == "7777777"


@pytest.fixture
def several(world: Repaired) -> list[RepairCommand]:
    """Return three repairs: one by Anna's word, one by Bert's, one that needed none."""
    rows = [
        world.of_row(number, COMMAND, command_id=bytes([number]) * 16, finding_id=bytes([number]) * 16)
        for number in (1, 2)
    ]
    rows.append(world.of_row(3, COMMAND, command_id=b"3" * 16, finding_id=b"3" * 16, needs_approval=False))
    for number, command in enumerate(rows):
        world.put(REPAIRS, CODEC.command(command), NOW_MS + number)
        world.put(OUTCOMES, CODEC.outcome(outcome(command)), NOW_MS + 1_000 * number)
        world.drift(Stage.VERIFIED, command, 6)
    world.put(APPROVALS, CODEC.approval(word(rows[:1])), NOW_MS)
    world.put(APPROVALS, CODEC.approval(word(rows[1:2], BERT)), NOW_MS)
    return rows


def ids(found: Asked) -> tuple[int, set[bytes]]:
    """Return the exit code, and the commands that were told."""
    return found[0], {bytes.fromhex(each["command_id"]) for each in found[1]}


def test_changes_are_found_by_person_batch_time_and_entity(
    several: list[RepairCommand], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each narrows, and together they narrow further."""
    first, second, third = several
    every = {command.command_id for command in several}
    assert ids(asked(capsys, "changes", "--person", "anna")) == (0, {first.command_id})
    assert ids(asked(capsys, "changes", "--person", "bert")) == (0, {second.command_id})
    assert ids(asked(capsys, "changes", "--person", BERT.key_id.hex())) == (0, {second.command_id})
    assert ids(asked(capsys, "changes", "--batch", word([first]).batch_id.hex()[:12])) == (0, {first.command_id})
    assert ids(asked(capsys, "changes", "--since", "1h")) == (0, every)
    later = "2026-11-23T19:00:00.500Z"
    assert ids(asked(capsys, "changes", "--since", later)) == (0, {second.command_id, third.command_id})
    assert ids(asked(capsys, "changes", "--until", later)) == (0, every)
    assert ids(asked(capsys, "changes", "--since", later, "--person", "anna")) == (0, set())
    assert ids(asked(capsys, "changes", "--since", "1h", "--entity", "customers")) == (0, set())


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("changes",), 2, "say which"),
        (("changes", "--batch", "%"), 2, "8 hex digits"),
        (("changes", "--person", "nobody"), 2, "nobody is trusted under the name"),
        (("row", "nothing", "7"), 2, "there are: orders"),
    ],
)
def test_a_question_that_is_none_is_told_so(
    world: Repaired, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, says: str
) -> None:
    """Before anything is read."""
    del world
    run(["history", "follow", "--once"])
    assert run(["history", *arguments]) == code
    assert says in capsys.readouterr().err


def right(capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Return the exit code, and what is said of the one change of row 7."""
    code, [told] = asked(capsys, "row", "orders", "7")
    return code, told["right"]


def test_what_was_written_and_not_seen_again_is_not_proven(world: Repaired, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 3, until the drift is verified through the log; verified by another command does not count."""
    world.repair(world.command, verified=False)
    assert right(capsys) == (3, "not_seen")
    world.drift(Stage.VERIFIED, replace(world.command, command_id=b"x" * 16), 6)
    assert right(capsys) == (3, "not_seen")
    world.drift(Stage.VERIFIED, world.command, 7)
    assert right(capsys) == (0, "verified")


def test_what_was_written_without_the_word_it_needed_is_wrong(
    world: Repaired, capsys: pytest.CaptureFixture[str]
) -> None:
    """No word, a stranger's word, and a word on a command of other content are not a yes."""
    world.put(REPAIRS, CODEC.command(world.command))
    world.put(OUTCOMES, CODEC.outcome(outcome(world.command)))
    world.drift(Stage.VERIFIED, world.command, 6)
    assert right(capsys) == (1, "not_approved")
    other = world.of_row(7, COMMAND, expires_at_ms=NOW_MS + 1)
    world.put(APPROVALS, CODEC.approval(word([other])))
    assert right(capsys) == (1, "not_approved")
    forged = replace(word([world.command], STRANGER), key_id=ANNA.key_id)
    world.put(APPROVALS, CODEC.approval(forged))
    code, [told] = asked(capsys, "row", "orders", "7")
    assert (code, told["right"], told["words"][-1]["doubt"], told["words"][-1]["person"]) == (
        1,
        "not_approved",
        "forged",
        "",
    )
    world.put(APPROVALS, CODEC.approval(word([world.command])))
    assert right(capsys) == (0, "verified")


def test_the_contract_says_which_words_a_write_needed(world: Repaired, capsys: pytest.CaptureFixture[str]) -> None:
    """Where it has the command's version; under another one nobody can say, and without any neither."""
    file = world.settings.contracts_dir / "orders.yaml"
    asks_two = file.read_text().replace("window_ms: 10000}", "window_ms: 10000, repair: {mode: apply, persons: 2}}")
    world.repair(world.command)
    for text, expected in (
        (asks_two, (1, "not_approved", "second_person")),
        (asks_two.replace("version: 1", "version: 2"), (3, "not_proven", "policy_not_known")),
        ("", (3, "not_proven", "policy_not_known")),
    ):
        file.write_text(text)
        if not text:
            file.unlink()
        code, [told] = asked(capsys, "changes", "--since", "2h")
        assert (code, told["right"], told["because"]) == expected
    assert run(["history", "changes", "--since", "2h"]) == 3
    shown = capsys.readouterr()
    assert "not_proven (policy_not_known)" in shown.out
    assert "no contract can be read" in shown.err


def test_a_command_says_which_policy_allowed_it(world: Repaired, capsys: pytest.CaptureFixture[str]) -> None:
    """What that policy said is told while a contract here has it; after that it is named, and nothing is guessed."""
    file = world.settings.contracts_dir / "orders.yaml"
    applies = file.read_text().replace("window_ms: 10000}", "window_ms: 10000, repair: {mode: apply}}")
    file.write_text(applies)
    world.repair(world.of_row(7, COMMAND, policy_id=RepairPolicy(RepairMode.APPLY).policy_id))
    for text, expected in (
        (applies, (0, "verified", "", {"mode": "apply"})),
        # Of a later version of the contract that repairs by the same policy, too.
        (applies.replace("version: 1", "version: 2"), (0, "verified", "", {"mode": "apply"})),
        (applies.replace("apply", "apply, persons: 2"), (3, "not_proven", "policy_not_known", None)),
    ):
        file.write_text(text)
        code, [told] = asked(capsys, "row", "orders", "7")
        assert (code, told["right"], told["because"], told["policy"]) == expected
        assert (told["contract_version"], told["policy_id"]) == (1, RepairPolicy(RepairMode.APPLY).policy_id.hex())
        run(["history", "row", "orders", "7"])
        shown = capsys.readouterr().out
        assert f"by contract version 1, policy {told['policy_id'][:12]}: " in shown
        assert ('{"mode": "apply"}' if told["policy"] else "not among the contracts here") in shown


LATER_MS = NOW_MS + 600_000


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([(ANNA, True, NOW_MS)], (0, "verified", "")),
        ([(ANNA, True, NOW_MS), (BERT, False, NOW_MS + 1)], (1, "not_approved", "rejected")),
        ([(ANNA, True, LATER_MS + 600_000)], (1, "not_approved", "not_approved")),
        ([(ANNA, True, LATER_MS + 1)], (3, "not_proven", "clocks_too_close")),
        ([(ANNA, True, NOW_MS - 3_600_000)], (1, "not_approved", "approval_expired")),
    ],
)
def test_a_word_counts_as_it_did_when_the_row_was_written(
    world: Repaired,
    capsys: pytest.CaptureFixture[str],
    words: list[tuple[SigningKey, bool, int]],
    expected: tuple[int, str, str],
) -> None:
    """A no, a yes that came afterwards and one that was over make a write wrong; asking for a rehearsal is neither."""
    world.put(REPAIRS, CODEC.command(world.command))
    asks = word_on([world.command], BERT, approved=False, rehearses=True, life_ms=9, deployment=DEPLOYMENT)
    world.put(APPROVALS, CODEC.approval(asks))
    for key, is_yes, at_ms in words:
        said = word_on([world.command], key, approved=is_yes, said_at_ms=at_ms, deployment=DEPLOYMENT)
        world.put(APPROVALS, CODEC.approval(said))
    for at_ms in (LATER_MS, LATER_MS + 3_600_000):
        world.put(OUTCOMES, CODEC.outcome(replace(outcome(world.command), at_ms=at_ms)))
    world.drift(Stage.VERIFIED, world.command, 6)
    code, [told] = asked(capsys, "row", "orders", "7")
    assert (code, told["right"], told["because"]) == expected


def test_a_rehearsal_after_the_write_is_none_before_it(world: Repaired, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the contract wants one before the yes."""
    file = world.settings.contracts_dir / "orders.yaml"
    wants = "window_ms: 10000, repair: {mode: apply, rehearsal: required}}"
    file.write_text(file.read_text().replace("window_ms: 10000}", wants))
    world.repair(world.command)
    world.put(REHEARSALS, CODEC.rehearsal(replace(rehearsal(world.command), at_ms=NOW_MS + 1)))
    code, [told] = asked(capsys, "row", "orders", "7")
    assert (code, told["right"], told["because"]) == (1, "not_approved", "not_rehearsed")
    world.put(REHEARSALS, CODEC.rehearsal(rehearsal(world.command)))
    assert right(capsys) == (0, "verified")


def test_a_command_that_was_signed_again_may_have_been_written_as_it_was_first(
    world: Repaired, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody has spoken of the later one; nothing was let go where nobody spoke of the earlier one either."""
    again = world.of_row(7, COMMAND, fence_token=1)
    world.put(REPAIRS, CODEC.command(world.command))
    world.put(REPAIRS, CODEC.command(again))
    world.put(OUTCOMES, CODEC.outcome(outcome(world.command)))
    world.drift(Stage.VERIFIED, world.command, 6)
    assert right(capsys) == (1, "not_approved")
    world.put(APPROVALS, CODEC.approval(word([world.command])))
    code, [told] = asked(capsys, "row", "orders", "7")
    assert (code, told["right"], told["because"]) == (3, "not_proven", "version_not_known")
    world.put(APPROVALS, CODEC.approval(word([again])))
    assert right(capsys) == (0, "verified")


def test_who_signed_with_a_key_that_is_gone_cannot_be_said(world: Repaired, capsys: pytest.CaptureFixture[str]) -> None:
    """Anna has left: her word may have been true, so nothing is called wrong, and nothing right."""
    world.repair(world.command)
    world.trust(anna=False)
    code, [told] = asked(capsys, "row", "orders", "7")
    assert (code, told["right"]) == (3, "not_proven")
    assert told["words"][0]["doubt"] == "unknown_key"
    assert ids(asked(capsys, "changes", "--person", ANNA.key_id.hex()))[1] == {world.command.command_id}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE commands SET reason = 'because'",
        "UPDATE commands SET needs_approval = 0",
        "UPDATE commands SET key_id = ''",
    ],
)
def test_a_command_that_somebody_altered_in_the_database_is_not_the_planners(
    world: Repaired, capsys: pytest.CaptureFixture[str], statement: str
) -> None:
    """Its signature is held against what stands in the row."""
    from app.adapters.history import open_history

    world.repair(world.command)
    run(["history", "follow", "--once"])
    store = open_history(world.settings, reads_only=False)
    store.execute(statement)
    store.close()
    code, told = right(capsys)
    assert (code, told) in {(1, "not_signed"), (3, "not_proven")}
    assert run(["history", "rebuild"]) == 0
    assert right(capsys) == (0, "verified")


def test_a_verdict_that_does_not_come_out_of_its_evidence_is_wrong(
    world: Repaired, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever became of it afterwards."""
    honest: Finding = stale().finding
    world.drift(Stage.CONFIRMED, world.command, 1, evidence=replace(honest.evidence, authority_watermark_ms=15_000))
    world.put(REPAIRS, CODEC.command(world.command))
    assert right(capsys) == (1, "not_written")
    world.repair(world.command)
    assert right(capsys) == (1, "misjudged")


@pytest.mark.parametrize(
    ("what", "reason", "expected"),
    [
        (Outcome.REFUSED, RefusalReason.ROW_MOVED, (0, "not_written")),
        (Outcome.HELD, RefusalReason.NOT_APPROVED, (0, "not_written")),
        (Outcome.INVERTED, None, (0, "taken_back")),
    ],
)
def test_what_was_not_written_or_was_taken_back_is_said(
    world: Repaired,
    capsys: pytest.CaptureFixture[str],
    what: Outcome,
    reason: RefusalReason | None,
    expected: tuple[int, str],
) -> None:
    """With its reason; a refused forgery under the same id says nothing of the true command."""
    world.put(REPAIRS, CODEC.command(world.command))
    world.put(APPROVALS, CODEC.approval(word([world.command])))
    world.put(OUTCOMES, CODEC.outcome(outcome(world.command, what, reason)))
    world.put(OUTCOMES, CODEC.outcome(outcome(world.command, Outcome.REFUSED, RefusalReason.FORGED)))
    code, [told] = asked(capsys, "row", "orders", "7")
    assert (code, told["right"]) == expected
    assert (told["outcome"], told["reason"]) == (what.value, reason.value if reason else "")


def test_a_repair_of_a_drift_that_was_disproved_was_wrong(world: Repaired, capsys: pytest.CaptureFixture[str]) -> None:
    """Late evidence refutes the verdict, so the write was none that it should have been."""
    world.repair(world.command, verified=False)
    world.drift(Stage.REFUTED, world.command, 6)
    assert right(capsys) == (1, "refuted")


def test_a_repair_that_a_person_took_back_is_told_with_the_person(
    world: Repaired, capsys: pytest.CaptureFixture[str]
) -> None:
    """An undo is signed by a person's key; with the planner's it is nobody's."""
    undo = world.of_row(
        7,
        COMMAND,
        command_id=b"u" * 16,
        action=Action.RESTORE,
        undoes=world.command.command_id,
    )
    world.put(REPAIRS, CODEC.command(undo))
    world.put(OUTCOMES, CODEC.outcome(outcome(undo)))
    assert right(capsys) == (1, "not_signed")
    unsigned = replace(undo, key_id=ANNA.key_id, signature=b"")
    theirs = replace(unsigned, signature=ANNA.sign(signed_form(DEPLOYMENT, unsigned)))
    world.put(REPAIRS, CODEC.command(theirs))
    code, [told] = asked(capsys, "changes", "--person", "anna")
    assert (code, told["right"], told["who"]) == (0, "undoes", "anna")
    assert told["undoes"] == world.command.command_id.hex()


def test_what_a_person_had_aligned_is_told_with_the_person(world: Repaired, capsys: pytest.CaptureFixture[str]) -> None:
    """There is no drift behind it; who asked has said yes, and the planner may not ask."""
    aligns = world.of_row(7, COMMAND, command_id=b"a" * 16, action=Action.TRANSFORM, needs_approval=True)
    world.put(REPAIRS, CODEC.command(aligns))
    world.put(OUTCOMES, CODEC.outcome(outcome(aligns)))
    assert right(capsys) == (1, "not_signed")
    unsigned = replace(aligns, key_id=ANNA.key_id, signature=b"")
    theirs = replace(unsigned, signature=ANNA.sign(signed_form(DEPLOYMENT, unsigned)))
    world.put(REPAIRS, CODEC.command(theirs))
    code, [told] = asked(capsys, "changes", "--person", "anna")
    assert (code, told["right"], told["who"]) == (0, "aligned", "anna")


def test_a_forged_command_does_not_stand_in_the_true_ones_place(
    world: Repaired, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of several under one id the newest that the planner signed counts; alone, a forgery is said to be one."""
    forged = replace(world.command, reason="\x1b[31mby me")
    world.put(REPAIRS, CODEC.command(forged))
    world.put(OUTCOMES, CODEC.outcome(outcome(world.command)))
    code, [told] = asked(capsys, "row", "orders", "7")
    assert (code, told["right"], told["doubt"]) == (1, "not_signed", "forged")
    run(["history", "changes", "--since", "2h"])
    assert "\x1b" not in capsys.readouterr().out
    world.repair(world.command)
    world.put(REPAIRS, CODEC.command(forged))
    assert right(capsys) == (0, "verified")


def test_a_drift_that_nothing_was_done_about_is_told_with_its_row(
    world: Repaired, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its key."""
    world.drift(Stage.CONFIRMED, world.command, 1)
    code, [told] = asked(capsys, "row", "orders", "7")
    assert (code, told["command_id"], told["right"], told["store"]) == (0, "", "not_written", "my")


def test_a_rebuild_forgets_nothing_unasked_and_following_tells_what_it_never_saw(
    world: Repaired, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kafka has deleted the first record of each topic."""
    world.repair(world.command)
    run(["history", "follow", "--once"])
    world.log.deleted = 1
    assert run(["history", "rebuild"]) == 2
    assert "Kafka has deleted" in capsys.readouterr().err
    assert right(capsys) == (0, "verified")
    assert run(["history", "rebuild", "--forget"]) == 0
    assert asked(capsys, "changes", "--since", "2h") == (0, [])
    world.log.deleted = 4
    assert run(["history", "follow", "--once"]) == 0
    assert "drifts[0]: Kafka deleted 1 offsets before they were read" in capsys.readouterr().err


def test_following_goes_on_where_it_was_until_it_is_stopped(
    world: Repaired, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second time reads what is new only."""
    world.repair(world.command, verified=False)
    run(["history", "follow", "--once"])
    assert "5 records read" in capsys.readouterr().err
    world.drift(Stage.VERIFIED, world.command, 6)
    run(["history", "follow", "--once"])
    assert "1 records read" in capsys.readouterr().err
