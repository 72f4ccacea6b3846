"""`driftline rehearse`: a person asks what a batch would do, and reads it before answering."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count, repeat
from pathlib import Path

import pytest

from app.adapters.signing import SIGNERS, read_signers, verify
from app.adapters.topic_log import Begin, LogRecord
from app.cli.main import run
from app.core.approval import refusal_of
from app.core.command import RefusalReason
from tests.unit.cli.desk import Desk
from tests.unit.cli.reading_world import NOW_MS
from tests.unit.cli.test_batches import listed


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Return a deployment at which anna sits."""
    return Desk(tmp_path, monkeypatch)


def answering(desk: Desk, monkeypatch: pytest.MonkeyPatch, answer: Callable[[bytes], None]) -> None:
    """Let an applier answer what is asked; where it does not, time goes by."""
    until_now = desk.log.until_now

    def on_and_on(topics: Sequence[str], begin: Begin = None) -> Iterator[LogRecord | None]:
        for word in desk.said():
            answer(word.batch_id)
        yield from until_now(topics, begin)
        yield from repeat(None)

    monkeypatch.setattr(desk.log, "on_and_on", on_and_on)
    seconds = count(0, 10)
    monkeypatch.setattr("app.cli.rehearse.time.monotonic", lambda: float(next(seconds)))


def test_a_question_is_signed_and_its_answers_are_shown(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the person at the desk, over the batch, for ten minutes; exit code 4 where a row would not be written."""
    first, second = desk.propose(), desk.propose()
    (batch,) = listed(capsys, "batches")
    assert batch["rehearsed"] == {}

    def answer(batch_id: bytes) -> None:
        desk.show(first, RefusalReason.FENCED, batch=b"another batch")
        desk.show(first, batch=batch_id)
        desk.show(second, RefusalReason.ROW_LOCKED, batch=batch_id)

    answering(desk, monkeypatch, answer)
    rows = listed(capsys, "rehearse", batch["batch"], "--why", "to see", code=4)
    assert {row["command_id"]: row["would"] for row in rows} == {
        first.command_id.hex(): "write",
        second.command_id.hex(): "row_locked",
    }
    (word,) = desk.said()
    assert (word.rehearses, word.approved, word.why) == (True, False, "to see")
    assert word.expires_at_ms == NOW_MS + 600_000
    assert refusal_of(read_signers(desk.keys / SIGNERS), verify, "shop", word, NOW_MS) is None
    assert sorted(r.partition for r in desk.sink.sent) == [0, 1]
    desk.hear(word)
    (told,) = listed(capsys, "batches")
    assert told["rehearsed"] == {
        "tried": 2,
        "would_write": 1,
        "would_not": {"row_locked": 1},
        "touches": ["shop.lines: 2 deleted through fk", "shop.orders: 1 deleted"],
        "may_touch_more": True,
    }
    assert [row["would"] for row in listed(capsys, "batches", batch["batch"])] == [row["would"] for row in rows]


def test_all_rows_that_would_be_written_are_agreement(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 0, so that a script may go on to approve."""
    command = desk.propose()
    (batch,) = listed(capsys, "batches")
    answering(desk, monkeypatch, lambda batch_id: desk.show(command, batch=batch_id))
    assert [row["would"] for row in listed(capsys, "rehearse", batch["batch"], code=0)] == ["write"]


def test_what_was_not_tried_in_time_is_said(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another content, or of another batch, it is no answer: exit code 3, and what to look at."""
    command = desk.propose()
    desk.propose()
    (batch,) = listed(capsys, "batches")
    answering(desk, monkeypatch, lambda batch_id: desk.show(replace(command, fence_token=9), batch=batch_id))
    assert {row["would"] for row in listed(capsys, "rehearse", batch["batch"], code=3)} == {""}
    assert run(["rehearse", "12345678"]) == 2


def test_where_the_policy_wants_it_a_batch_is_rehearsed_before_it_is_approved(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused with what to run; afterwards the yes is said not before the applier's clock says it was tried."""
    desk.ask_for(persons=1, rehearsal="required")
    command = desk.propose()
    (batch,) = listed(capsys, "batches")
    assert batch["rehearsal"] == "required"
    assert run(["approve", batch["batch"]]) == 2
    assert f"driftline rehearse {batch['batch']}" in capsys.readouterr().err
    assert desk.said() == []
    desk.show(command, at_ms=NOW_MS + 5_000)
    assert run(["approve", batch["batch"]]) == 0
    (word,) = desk.said()
    assert (word.approved, word.said_at_ms) == (True, NOW_MS + 5_000)
    assert run(["reject", batch["batch"]]) == 0


def test_a_question_does_not_answer_the_batch(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """It waits on, and nobody has said yes or no."""
    desk.propose()
    (batch,) = listed(capsys, "batches")
    run(["rehearse", batch["batch"], "--wait", "1s"])
    desk.hear(desk.said()[0])
    (again,) = listed(capsys, "batches")
    assert (again["batch"], again["approved_by"]) == (batch["batch"], [])
