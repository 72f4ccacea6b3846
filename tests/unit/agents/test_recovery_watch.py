"""What is told of a recovery: how much, how long still, and its end, once."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.agents.recovery_watch import RecoveryWatch


@dataclass
class _Heard:
    told: list[tuple[object, ...]] = field(default_factory=list)

    def recovering(self, done: int, total: int, left_s: float | None) -> None:
        self.told.append((done, total, left_s))

    def recovered(self, records: int, elapsed_s: float) -> None:
        self.told.append(("over", records, elapsed_s))


def test_the_estimate_is_by_the_pace_so_far() -> None:
    """A quarter in two seconds: three quarters in six."""
    watch = RecoveryWatch(heard := _Heard())
    watch.look(1_000, 10.0)
    watch.look(900, 10.5)
    watch.look(750, 12.0)
    assert heard.told == [(250, 1_000, 6.0)]


def test_nothing_is_estimated_before_anything_was_read() -> None:
    """A division by nothing is no estimate."""
    watch = RecoveryWatch(heard := _Heard())
    watch.look(1_000, 10.0)
    watch.look(1_000, 12.0)
    assert heard.told == [(0, 1_000, None)]


def test_the_end_is_told_once_and_the_next_recovery_begins_at_nothing() -> None:
    """What the first one read does not count for the second."""
    watch = RecoveryWatch(heard := _Heard())
    for remaining, now_s in ((0, 1.0), (40, 1.1), (None, 1.5), (None, 1.6), (7, 9.0), (None, 9.25)):
        watch.look(remaining, now_s)
    assert heard.told == [("over", 40, 0.5), ("over", 7, 0.25)]
