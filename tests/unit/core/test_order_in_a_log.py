"""What the fold makes of changes by their places in a log: equal places, redeliveries, reads, values left out."""

from __future__ import annotations

from dataclasses import replace

from app.core.contract import Field
from app.core.finding import UnknownReason
from app.core.fold import row_key
from app.core.keystate import Side
from app.core.observation import PRESENT, UNMAPPABLE, Link, Truncated
from app.core.position import postgres_place
from app.core.verdict import ABSENT, reason_of
from tests.unit.core.story import INT, Story, digest


def shown(story: Story, key: str = "k") -> bytes:
    """Return what the authority shows of a row."""
    return story.state(key).sides[0].stays[-1].digest


def test_rows_that_share_a_place_in_the_log_are_all_taken() -> None:
    """COPY writes many rows under one LSN, and so does every statement that inserts them a page at a time."""
    story = Story()
    place = postgres_place(500, 700, is_delete=False)
    for key in "abc":
        story.row("A", key, key=key, place=place)
    assert [shown(story, key) for key in "abc"] == [digest(key) for key in "abc"]


def test_a_change_that_is_sent_again_changes_nothing() -> None:
    """A connector that crashed repeats the end of its log, under new offsets and with its old places."""
    story = Story()
    first = story.row("A", "one")
    second = story.row("A", "two")
    for value, place in (("one", first), ("two", second), ("two", second)):
        story.row("A", value, place=place)
    assert shown(story) == digest("two")
    assert [stay.digest for stay in story.state().sides[0].stays] == [ABSENT, digest("one"), digest("two")]


def test_a_row_that_is_gone_does_not_come_back_with_a_change_that_is_sent_again() -> None:
    """Nothing is kept of such a row, but its partition of the log is known beyond it."""
    story = Story()
    written = story.row("A", "one")
    story.row("R", "one")
    story.row("A", "")
    story.row("R", "")
    story.until(500, 10_000)
    assert row_key(7, b"k") not in story.table
    story.row("A", "one", place=written)
    assert row_key(7, b"k") not in story.table


def test_the_read_of_a_snapshot_never_overrides_a_change() -> None:
    """It may carry the very place of the first streamed change, and still stands before it."""
    story = Story()
    story.row("A", "streamed")
    story.row("A", "read", snapshot=True)
    assert shown(story) == digest("streamed")


class LargeStory(Story):
    """A story of rows with a field that the log may leave out."""

    def __init__(self) -> None:
        super().__init__()
        large = Field("body", INT, {"A": "body", "R": "body"}, large=True)
        self.contract = replace(self.contract, fields=(*self.contract.fields, large))
        self.restart()

    def change(self, value: str, body: str | None, place: bytes = b"") -> bytes:
        """Let the authority's log show a row with a value and a body; None: it was left out."""
        place = place or self.place("A")
        block = self.block("A", value, place, flags=PRESENT)
        groups = digest(value) + (bytes(16) if body is None else digest(body))
        self.observe(replace(block, groups=2, digests=groups))
        return place

    def truncate(self) -> bytes:
        """Let another partition bring a truncate that stands here in the authority's log; return the place."""
        place = self.place("A")
        self.observe(Truncated(7, 0, Link("A.t", 1, 0, 1), place, 0, 9))
        return place

    @property
    def side(self) -> Side:
        """What is known of the row in the authority."""
        return self.state().sides[0]


def test_a_value_that_the_log_left_out_is_the_one_before() -> None:
    """The row's state is that of its new fields and of the large one that it had."""
    told, left_out = LargeStory(), LargeStory()
    told.change("one", "body")
    told.change("two", "body")
    left_out.change("one", "body")
    left_out.change("two", None)
    assert left_out.side.stays[-1].digest == told.side.stays[-1].digest


def test_a_value_that_the_log_left_out_before_any_was_known_is_unknown() -> None:
    """As where a connector drops the read of a snapshot in favour of a change: it is not guessed from another."""
    story = LargeStory()
    story.change("one", None)
    assert reason_of(story.side.stays[-1].digest) is UnknownReason.PARTIAL
    story.change("one", "body")
    assert reason_of(story.side.stays[-1].digest) is None


def test_a_change_that_a_truncate_has_overtaken_leaves_out_what_the_row_had() -> None:
    """The row is gone, and what it was before it went is known: a drift that ended so is told."""
    told, left_out = LargeStory(), LargeStory()
    for story, body in ((told, "body"), (left_out, None)):
        story.change("one", "body")
        overtaken = story.place("A")
        story.truncate()
        story.change("two", body, overtaken)
        assert story.side.stays[-1].digest == ABSENT
    assert left_out.side.stays[-2].digest == told.side.stays[-2].digest != ABSENT


def test_what_comes_again_behind_a_truncate_changes_nothing_of_what_is_left_out() -> None:
    """An older change, sent again, does not pass for the newest of the row that was cut."""
    told, left_out = LargeStory(), LargeStory()
    for story, body in ((told, "second"), (left_out, None)):
        old = story.change("one", "first")
        story.change("two", "second")
        overtaken = story.place("A")
        story.truncate()
        story.change("one", "first", old)
        story.change("three", body, overtaken)
    assert left_out.side.stays[-2].digest == told.side.stays[-2].digest


def test_a_row_that_comes_after_a_truncate_has_nothing_of_the_one_before() -> None:
    """It is another row under the same key: what its log leaves out is not known."""
    story = LargeStory()
    story.change("one", "body")
    story.truncate()
    story.change("two", None)
    assert reason_of(story.side.stays[-1].digest) is UnknownReason.PARTIAL


def test_a_row_that_does_not_fit_is_unknown_and_comes_back_with_a_change_that_does() -> None:
    """As while a table has other columns than its contract: neither drift nor agreement, and no storm behind it."""
    story = Story()
    for store in "AR":
        story.row(store, "one", snapshot=True)
    story.until(500, 1_000)
    for value, flags in (("two", UNMAPPABLE), ("three", 0)):
        for store in "AR":
            story.observe(story.block(store, value, story.place(store), flags=flags))
        story.until(2_000, 6_000) if flags else story.until(6_500, 9_000)
        newest = story.state().sides[1].stays[-1].digest
        assert reason_of(newest) is (UnknownReason.SCHEMA if flags else None)
        assert story.shard.live[7].unknown_keys(0) == ({UnknownReason.SCHEMA: 1} if flags else {})
    assert story.findings == []
