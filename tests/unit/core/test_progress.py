"""Chains and writers: what may be passed over, and what may not."""

from __future__ import annotations

import pytest

from app.core.observation import Barrier, Beacon, Link
from app.core.progress import Progress
from tests.unit.core.test_epochs import CONTRACT, place


@pytest.mark.parametrize(("begin", "extends"), [(0, True), (9, True), (10, True), (11, False)])
def test_a_link_above_what_was_reached_is_not_taken(begin: int, *, extends: bool) -> None:
    """A lost block must not be jumped by what comes after it."""
    progress = Progress.of((CONTRACT,))
    progress.extend(Link("A.t", 0, 0, 10))
    assert progress.extends(Link("A.t", 0, begin, 20)) is extends


def test_a_redelivered_link_takes_nothing_back() -> None:
    """What was reached stays reached."""
    progress = Progress.of((CONTRACT,))
    progress.extend(Link("A.t", 0, 0, 10))
    assert progress.extend(Link("A.t", 0, 0, 4)).reached == 10


@pytest.mark.parametrize(
    ("epoch", "issued_ms", "superseded"), [(1, 4_999, False), (1, 5_000, False), (1, 5_001, True), (2, 9_000, False)]
)
def test_a_writer_is_superseded_from_the_moment_at_which_the_next_began(
    epoch: int, issued_ms: int, *, superseded: bool
) -> None:
    """What an older writer issued before that still counts, however late it comes."""
    progress = Progress.of((CONTRACT,))
    progress.writers_began_ms = {1: 0, 2: 5_000}
    beacon = Beacon("A", epoch, 1, issued_ms, 0, place(1), streamed=True, server="one")
    assert progress.superseded(beacon) is superseded


def test_a_partition_without_a_record_hinders_no_coverage() -> None:
    """Nobody has said anything of an empty partition yet, and there is nothing to be said."""
    progress = Progress.of((CONTRACT,))
    for streamed, n in ((False, 1), (True, 2)):
        link = Link("A.beacon", 0, n - 1, n)
        beacon = Beacon("A", 1, n, n * 500, 0, place(n), streamed, "one")
        progress.take_beacon(Barrier(beacon, link, [("A.t", 0, 0)]), progress.extend(link))
        progress.advance()
    assert progress.entities[7].covered_at_ms[0] == 1_000
