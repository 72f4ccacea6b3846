"""Parts of the week: what is within them."""

from __future__ import annotations

import pytest

from app.core.hours import daily_hours, within


@pytest.mark.parametrize(
    ("hours", "minute", "wanted"),
    [
        (["22:00-05:30"], 23 * 60, True),
        (["22:00-05:30"], 329, True),
        (["22:00-05:30"], 330, False),
        (["22:00-05:30", "12:00-13:00"], 12 * 60, True),
        (["12:00-13:00"], 13 * 60, False),
        (["06:00-06:00"], 6 * 60, True),
        (["06:00-06:00"], 5 * 60, True),
        ([], 720, False),
    ],
)
def test_a_minute_is_within_a_stretch_of_every_day(hours: list[str], minute: int, *, wanted: bool) -> None:
    """Also over midnight; an end that is the start makes it the whole day."""
    assert within([daily_hours(text) for text in hours], minute * 60_000) is wanted


@pytest.mark.parametrize("text", ["", "22:00", "24:00-01:00", "1-2", "aa:bb-cc:dd"])
def test_what_is_no_stretch_of_a_day_is_refused(text: str) -> None:
    """Where it is read."""
    with pytest.raises(ValueError, match=r".*"):
        daily_hours(text)
