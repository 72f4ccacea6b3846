"""What a person asked for: what is sent when, what is not sent again, and what a script is told in the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest

from app.cli.asked_for import NOT_ANSWERED, NOT_SENT, AskedFor
from app.cli.exit_codes import ExitCode
from app.core.command import (
    DISTRUSTED,
    FINAL_REASONS,
    WAITS_FOR_WORD,
    Action,
    CommandOutcome,
    Outcome,
    RefusalReason,
    RepairCommand,
)

WALL_MS = 1_000_000
LIFE_MS = 3_600_000
PASSES = frozenset(RefusalReason) - FINAL_REASONS - DISTRUSTED - WAITS_FOR_WORD


def by_name(reasons: Iterable[RefusalReason]) -> list[RefusalReason]:
    """Return reasons in an order that stays."""
    return sorted(reasons, key=lambda reason: reason.value)


def command(name: bytes, row: bytes = b"", *, life_ms: int = LIFE_MS) -> RepairCommand:
    """Return a command on a row, of its own if none is named."""
    return RepairCommand(
        command_id=name,
        finding_id=b"",
        incident_id=b"",
        entity="orders",
        contract_version=1,
        authority="pg",
        target="my",
        action=Action.RESTORE,
        kind="",
        sealed_key=b"",
        key_hash=row or name,
        partition=0,
        expected_digest=b"",
        intended_digest=b"",
        authority_position=b"",
        needs_approval=True,
        reason="",
        expires_at_ms=WALL_MS + life_ms,
        fence_token=0,
        trace_id=b"",
        planned_at_ms=WALL_MS,
        undoes=b"u",
    )


def told(name: bytes, outcome: Outcome, reason: RefusalReason | None = None) -> CommandOutcome:
    """Return what became of a command."""
    return CommandOutcome(name, b"", "orders", "my", outcome, reason, 0, "", 0, b"", "")


def due(asked: AskedFor, now_ms: int) -> list[bytes]:
    """Return the names of what is to be sent now; both clocks go on together."""
    return [each.command_id for each in asked.due(now_ms, WALL_MS + now_ms)]


def sent(commands: Sequence[RepairCommand]) -> AskedFor:
    """Return commands of which was sent what is to be sent at first."""
    asked = AskedFor(commands)
    due(asked, 0)
    return asked


def test_commands_on_several_rows_are_sent_at_once_and_in_order() -> None:
    """Another row is another entity's, another key's or another store's."""
    one = command(b"1", b"row")
    others = [replace(one, command_id=b"2", entity="goods"), replace(one, command_id=b"3", target="pg")]
    asked = AskedFor([one, *others, command(b"4", b"other")])
    assert due(asked, 0) == [b"1", b"2", b"3", b"4"]
    assert due(asked, LIFE_MS // 2) == []
    assert not asked.is_over


def test_those_on_one_row_are_sent_one_after_the_other() -> None:
    """Each once the one before it is applied, also if it was so already; not before."""
    asked = sent([command(name, b"row") for name in (b"1", b"2", b"3")])
    asked.hear(told(b"2", Outcome.HELD, RefusalReason.ROW_LOCKED), 1)
    assert due(asked, 60_000) == []
    asked.hear(told(b"1", Outcome.APPLIED), 60_000)
    assert due(asked, 60_000) == [b"2"]
    asked.hear(told(b"1", Outcome.APPLIED), 60_001)
    assert due(asked, 60_001) == []
    asked.hear(told(b"2", Outcome.APPLIED), 60_002)
    assert due(asked, 60_002) == [b"3"]
    assert not asked.is_over
    asked.hear(told(b"3", Outcome.APPLIED), 60_003)
    assert (asked.is_over, asked.exit_code) == (True, ExitCode.AGREE)


def test_what_somebody_else_had_applied_meanwhile_is_passed_over() -> None:
    """The row is as the next one expects it."""
    asked = sent([command(name, b"row") for name in (b"1", b"2", b"3")])
    asked.hear(told(b"2", Outcome.APPLIED), 1)
    assert due(asked, 1) == [b"3"]
    asked.hear(told(b"1", Outcome.APPLIED), 2)
    asked.hear(told(b"3", Outcome.APPLIED), 2)
    assert due(asked, 2) == []
    assert asked.is_over


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ((Outcome.REFUSED, RefusalReason.ROW_MOVED), ExitCode.REFUSED),
        ((Outcome.INVERTED, RefusalReason.NOT_HELD_BY_COLUMN), ExitCode.REFUSED),
        ((Outcome.HELD, RefusalReason.SECOND_PERSON), ExitCode.UNKNOWN),
    ],
)
def test_nothing_is_sent_behind_what_was_not_applied(end: tuple[Outcome, RefusalReason], code: ExitCode) -> None:
    """It would be refused for good; so there is nothing to wait for."""
    asked = sent([command(b"1", b"row"), command(b"2", b"row")])
    asked.hear(told(b"1", *end), 1)
    assert due(asked, 60_000) == []
    assert (asked.is_over, asked.exit_code) == (True, code)
    assert asked.counts()[NOT_SENT, ""] == 1


@pytest.mark.parametrize("reason", by_name(PASSES))
def test_what_is_held_for_a_reason_that_passes_is_sent_again_with_growing_pauses(reason: RefusalReason) -> None:
    """After 1, 2, 4, 8 and then every 10 seconds from the answer on, the same record."""
    one = command(b"1")
    asked = AskedFor([one])
    assert asked.due(0, WALL_MS) == [one]
    now_ms = 0
    for pause_ms in (1_000, 2_000, 4_000, 8_000, 10_000, 10_000):
        asked.hear(told(b"1", Outcome.HELD, reason), now_ms)
        now_ms += pause_ms
        assert asked.due(now_ms - 1, WALL_MS + now_ms) == []
        assert asked.due(now_ms, WALL_MS + now_ms) == [one]
    asked.hear(told(b"1", Outcome.APPLIED), now_ms)
    assert (asked.is_over, asked.exit_code) == (True, ExitCode.AGREE)


def test_a_value_that_stays_taken_is_not_asked_for_until_it_is_refused_for_good() -> None:
    """A minute after the planning the applier makes a conflict of it; still held, it can be asked for anew."""
    asked = sent([command(b"1")])
    asked.hear(told(b"1", Outcome.HELD, RefusalReason.VALUE_TAKEN), 49_000)
    assert due(asked, 50_000) == []
    assert (asked.is_over, asked.exit_code) == (True, ExitCode.UNKNOWN)


@pytest.mark.parametrize("reason", by_name(WAITS_FOR_WORD))
def test_what_is_held_for_a_persons_word_is_not_sent_again(reason: RefusalReason) -> None:
    """Nor waited for; whoever speaks sends it again, and if that comes in time it counts."""
    asked = sent([command(b"1", b"row"), command(b"2", b"row"), command(b"3")])
    asked.hear(told(b"1", Outcome.HELD, reason), 0)
    assert due(asked, 60_000) == []
    assert not asked.is_over
    asked.hear(told(b"3", Outcome.APPLIED), 1)
    assert (asked.is_over, asked.exit_code, asked.for_a_person) == (True, ExitCode.UNKNOWN, 1)
    asked.hear(told(b"1", Outcome.APPLIED), 60_000)
    assert due(asked, 60_000) == [b"2"]
    assert asked.for_a_person == 0


def test_an_answer_to_an_earlier_sending_does_not_outweigh_a_newer_one() -> None:
    """The newest counts: what is applied meanwhile is not sent again, and what was not is."""
    asked = sent([command(b"1"), command(b"2")])
    asked.hear(told(b"1", Outcome.HELD, RefusalReason.ROW_LOCKED), 0)
    asked.hear(told(b"1", Outcome.APPLIED), 500)
    asked.hear(told(b"2", Outcome.HELD, RefusalReason.SECOND_PERSON), 500)
    asked.hear(told(b"2", Outcome.HELD, RefusalReason.OUTSIDE_HOURS), 600)
    assert due(asked, 1_599) == []
    assert due(asked, 1_600) == [b"2"]


@pytest.mark.parametrize("reason", by_name(DISTRUSTED))
def test_a_forgery_under_its_id_settles_nothing_and_each_further_sending_would_be_an_alarm(
    reason: RefusalReason,
) -> None:
    """Waited for until the end; if nothing else comes, that is what is known."""
    asked = sent([command(b"1", b"row"), command(b"2", b"row"), command(b"3")])
    asked.hear(told(b"2", Outcome.REFUSED, reason), 0)
    asked.hear(told(b"1", Outcome.REFUSED, reason), 0)
    asked.hear(told(b"3", Outcome.HELD, RefusalReason.ROW_LOCKED), 0)
    asked.hear(told(b"3", Outcome.REFUSED, reason), 1)
    assert due(asked, 60_000) == [b"3"]
    assert (asked.is_over, asked.exit_code) == (False, ExitCode.REFUSED)
    for name in (b"1", b"2", b"3"):
        asked.hear(told(name, Outcome.APPLIED), 60_000)
        asked.hear(told(name, Outcome.REFUSED, reason), 60_000)
    assert (asked.is_over, asked.exit_code) == (True, ExitCode.AGREE)


def test_what_is_over_is_not_sent() -> None:
    """It would be held, and nothing could come of it; it can be asked for anew."""
    life_ms = last_ms = 8_000
    commands = [command(b"1", life_ms=life_ms), command(b"2", b"row", life_ms=life_ms)]
    asked = sent([*commands, command(b"3", b"row", life_ms=life_ms)])
    asked.hear(told(b"1", Outcome.HELD, RefusalReason.ROW_LOCKED), last_ms - 1_001)
    assert due(asked, last_ms - 1) == [b"1"]
    asked.hear(told(b"1", Outcome.HELD, RefusalReason.ROW_LOCKED), last_ms)
    asked.hear(told(b"2", Outcome.APPLIED), last_ms)
    assert due(asked, last_ms + 60_000) == []
    assert asked.is_over
    assert asked.counts() == {("held", "row_locked"): 1, ("applied", ""): 1, (NOT_SENT, ""): 1}


def test_a_refusal_outweighs_what_is_not_known_and_that_what_was_applied() -> None:
    """As a script is told."""
    asked = sent([command(b"1"), command(b"2"), command(b"3")])
    codes = [asked.exit_code]
    for said in (
        told(b"1", Outcome.APPLIED),
        told(b"2", Outcome.APPLIED),
        told(b"3", Outcome.HELD, RefusalReason.ROW_LOCKED),
        told(b"3", Outcome.REFUSED, RefusalReason.ROW_MOVED),
        told(b"of another", Outcome.REFUSED, RefusalReason.ROW_MOVED),
    ):
        asked.hear(said, 0)
        codes.append(asked.exit_code)
    assert codes == [ExitCode.UNKNOWN] * 4 + [ExitCode.REFUSED] * 2
    assert asked.counts() == {("applied", ""): 2, ("refused", "row_moved"): 1}
    assert sent([command(b"1")]).counts() == {(NOT_ANSWERED, ""): 1}
