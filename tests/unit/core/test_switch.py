"""Anybody stops, an approver lets go on; a word lifts what its author had read and nothing after it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.core.switch import Control, Said, Switch

WORDS = st.lists(st.sampled_from([Said.PAUSE, Said.PANIC, None]), max_size=12)


def resume(through: int) -> Control:
    """Return a word that lifts stops up to an offset."""
    return Control(Said.RESUME, "anna", 0, lifts_through=through)


def test_before_any_word_and_after_any_stop_it_is_off() -> None:
    """On only by a resume that speaks of the last stop."""
    assert not Switch().is_on
    assert Switch().after(resume(-1), 0).is_on
    for stop in (Said.PAUSE, Said.PANIC):
        stopped = Switch().after(resume(-1), 0).after(Control(stop, "eve", 0), 1)
        assert not stopped.is_on
        assert not stopped.after(resume(0), 2).is_on
        assert stopped.after(resume(1), 2).is_on


def test_a_resume_of_what_nobody_has_said_yet_changes_nothing() -> None:
    """It would lift every stop to come."""
    assert Switch().after(resume(0), 0) == Switch()
    assert Switch().after(resume(10**9), 5) == Switch()


@given(WORDS)
def test_no_word_played_again_lifts_a_later_stop(said: list[Said | None]) -> None:
    """Each resume says what it had read; all of them again, after a stop, leave it off."""
    words = [Control(each, "eve", 0) if each else resume(offset - 1) for offset, each in enumerate(said)]
    switch = Switch()
    for offset, word in enumerate(words):
        switch = switch.after(word, offset)
        assert switch.is_on is (word.said is Said.RESUME)
    switch = switch.after(Control(Said.PANIC, "eve", 0), len(words))
    for offset, word in enumerate(words, len(words) + 1):
        switch = switch.after(word, offset)
        assert not switch.is_on
