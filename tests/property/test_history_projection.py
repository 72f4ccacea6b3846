"""The history is the same whatever the order in which topics are read, how often, and where a reader is killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.adapters.sql_history import SqlHistory
from app.adapters.sqlite_history import SqliteHistory
from app.core.command import Outcome, RefusalReason
from app.core.errors import ContractViolation
from app.core.finding import Stage
from app.core.history.tables import TABLES
from app.history.projection import Projection, check_nothing_forgotten, check_same_topics, deleted_unread
from app.ports import Span
from app.topics import APPROVALS, CONTROL, DRIFTS, OUTCOMES, REHEARSALS, REPAIRS, Topic
from tests.property.history_records import (
    CODEC,
    COMMAND,
    DEPLOYMENT,
    READERS,
    LogRecord,
    another,
    outcome,
    record,
    rehearsal,
    stop,
    word,
)
from tests.unit.cli.reading_world import stale

Tables = dict[str, list[tuple[object, ...]]]

OTHERS = [another(COMMAND, number) for number in (1, 2)]
VALUES: dict[Topic, list[bytes | None]] = {
    DRIFTS: [*(CODEC.finding(stale(stage)) for stage in (Stage.CONFIRMED, Stage.OVERTAKEN, Stage.VERIFIED)), b"junk"],
    REPAIRS: [CODEC.command(each) for each in (COMMAND, *OTHERS, COMMAND)],
    APPROVALS: [CODEC.approval(word([COMMAND, OTHERS[0]])), CODEC.approval(word([OTHERS[1]], approved=False)), None],
    OUTCOMES: [
        CODEC.outcome(outcome(OTHERS[0], Outcome.HELD, RefusalReason.NOT_APPROVED)),
        CODEC.outcome(outcome()),
    ],
    REHEARSALS: [CODEC.rehearsal(rehearsal()), CODEC.rehearsal(rehearsal(OTHERS[1], RefusalReason.FENCED))],
    CONTROL: [stop(), b'{"said": "pause", "by": "x", "at_ms": 1e400}', b"[" * 100_000],
}
LOGS: list[list[LogRecord]] = [
    [record(topic, partition, 3 * offset, value) for offset, value in enumerate(values)]
    for topic, values in VALUES.items()
    for partition in ((0,) if topic is CONTROL else (0, 1))
]
EVERY = [each for log in LOGS for each in log]


class Killed(Exception):
    """The process is gone."""


class DyingHistory(SqliteHistory):
    """A history whose process dies at its n-th statement from now."""

    left: int | None = None

    def _count(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed

    def execute(self, text: str, parameters: object = ()) -> list[tuple[object, ...]]:
        """Die in time."""
        self._count()
        return super().execute(text, parameters)  # type: ignore[arg-type]  # handed through

    def execute_many(self, text: str, parameters: object) -> None:
        """Die in time."""
        self._count()
        super().execute_many(text, parameters)  # type: ignore[arg-type]  # handed through


def opened(folder: str) -> DyingHistory:
    """Open the history of a folder; no power fails in a test."""
    history = DyingHistory(Path(folder) / "history.sqlite", DEPLOYMENT, reads_only=False)
    history.execute("PRAGMA synchronous = OFF")
    return history


def contents(history: SqlHistory) -> Tables:
    """Return all rows of all tables."""
    names = [table.name for table in TABLES] + ["spans"]
    return {name: sorted(history.execute(f"SELECT * FROM {history.placed(name)}"), key=repr) for name in names}  # noqa: S608


def projected(parts: list[list[LogRecord]]) -> Tables:
    """Return the tables after these transactions."""
    with TemporaryDirectory() as folder, closing(opened(folder)) as history:
        history.make()
        projection = Projection(DEPLOYMENT, history, READERS)
        for part in parts:
            projection.take(part)
        return contents(history)


REFERENCE = projected([EVERY])


def test_every_record_leaves_its_rows_and_what_cannot_be_read_its_place() -> None:
    """Nothing of the topics is missing, and nothing of a hostile record comes in but where it stood, and why."""
    counts = {name: len(rows) for name, rows in REFERENCE.items()}
    assert counts == {
        "findings": 6,
        "commands": 8,
        "words": 4,
        "members": 6,
        "rehearsals": 4,
        "outcomes": 4,
        "switches": 1,
        "unreadable": 6,
        "spans": len(LOGS),
    }


@st.composite
def interleavings(draw: st.DrawFn) -> list[list[LogRecord]]:
    """Draw the records of all logs in some interleaving, each log in its order, in transactions of any size."""
    left = [list(log) for log in LOGS]
    order: list[LogRecord] = []
    while any(left):
        chosen = draw(st.sampled_from([log for log in left if log]))
        order.append(chosen.pop(0))
    cuts = sorted(draw(st.sets(st.integers(1, len(order) - 1))) | {0, len(order)})
    parts = [order[start:end] for start, end in pairwise(cuts)]
    again = draw(st.lists(st.integers(0, len(parts) - 1), max_size=4))
    for index in again:
        parts.insert(draw(st.integers(index, len(parts))), parts[index])
    return parts


@settings(max_examples=40)
@given(interleavings())
def test_any_interleaving_and_any_redelivery_ends_in_the_same_tables(parts: list[list[LogRecord]]) -> None:
    """Rows are named by place, and nothing is changed once it is there."""
    assert projected(parts) == REFERENCE


def from_offsets(begin: dict[tuple[str, int], int]) -> Iterator[LogRecord]:
    """Yield what Kafka sends to a reader that begins there."""
    return (each for each in EVERY if each.offset >= begin.get((each.topic, each.partition), 0))


@settings(max_examples=40)
@given(st.lists(st.integers(0, 12), max_size=6), st.integers(1, 7))
def test_killed_at_any_statement_it_goes_on_where_it_was(deaths: list[int], size: int) -> None:
    """Offsets are written with the rows: nothing is missing, and nothing is there twice."""
    with TemporaryDirectory() as folder:
        for death in [*deaths, None]:
            with closing(opened(folder)) as history:
                history.make()
                projection = Projection(DEPLOYMENT, history, READERS)
                records = list(from_offsets(projection.begin()))
                history.left = death
                try:
                    for start in range(0, len(records), size):
                        projection.take(records[start : start + size])
                except Killed:
                    continue
                assert contents(history) == REFERENCE


def test_the_offset_stands_behind_the_last_row_that_was_written() -> None:
    """Begin is asked of the tables, so a part that was not committed is read again."""
    with TemporaryDirectory() as folder:
        with closing(opened(folder)) as history:
            history.make()
            projection = Projection(DEPLOYMENT, history, READERS)
            projection.take(LOGS[0][:2])
            history.left = 4
            with pytest.raises(Killed):
                projection.take(LOGS[0][2:])
        with closing(opened(folder)) as history:
            assert len(history.execute("SELECT 1 FROM findings")) == 2
            assert Projection(DEPLOYMENT, history, READERS).begin() == {(DRIFTS.name(DEPLOYMENT), 0): 4}


@settings(max_examples=40)
@given(interleavings(), st.integers(0, 60))
def test_a_rebuild_ends_where_following_does_and_killed_leaves_what_was(
    parts: list[list[LogRecord]], death: int
) -> None:
    """It is one transaction: the old history stands until the new one is whole."""
    with TemporaryDirectory() as folder:
        with closing(opened(folder)) as history:
            history.make()
            projection = Projection(DEPLOYMENT, history, READERS)
            assert projection.follow([*(each for part in parts for each in part), None]) >= len(EVERY)
            history.execute("UPDATE commands SET reason = 'somebody altered it'")
            altered = contents(history)
            history.left = death
            try:
                projection.rebuild(EVERY)
            except Killed:
                pass
            else:
                history.left = None
                assert contents(history) == REFERENCE
                return
        with closing(opened(folder)) as history:
            assert contents(history) == altered


def test_following_writes_when_nothing_more_comes_and_stops_when_asked() -> None:
    """None from the log means that there is time to write."""
    with TemporaryDirectory() as folder, closing(opened(folder)) as history:
        history.make()
        projection = Projection(DEPLOYMENT, history, READERS)
        seen: list[int] = []

        def is_stopped() -> bool:
            seen.append(len(history.execute("SELECT 1 FROM findings")))
            return len(seen) == 2

        assert projection.follow([LOGS[0][0], None, LOGS[0][1], None, LOGS[0][2], None], is_stopped) == 2
        assert seen == [1, 2]


def test_topics_that_were_made_anew_are_refused() -> None:
    """Other records stand under the same places now."""
    check_same_topics({("drifts", 0): Span(0, 9)}, {("drifts", 0): 9})
    with pytest.raises(ContractViolation, match="made anew") as refused:
        check_same_topics({("drifts", 0): Span(0, 9)}, {("drifts", 0): 8})
    assert refused.value.where == "drifts[0]"


def test_what_kafka_deleted_is_told_and_not_forgotten_unasked() -> None:
    """Before it was read it is missing; afterwards a rebuild would lose it."""
    spans = {("drifts", 0): Span(0, 9)}
    assert deleted_unread(spans, {("drifts", 0): 9, ("repairs", 0): 0}) == {}
    assert deleted_unread(spans, {("drifts", 0): 12, ("repairs", 0): 3}) == {("drifts", 0): 3, ("repairs", 0): 3}
    check_nothing_forgotten(spans, {("drifts", 0): 0})
    with pytest.raises(ContractViolation, match="Kafka has deleted"):
        check_nothing_forgotten(spans, {("drifts", 0): 1})
