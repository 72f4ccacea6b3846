"""The worker's guess of the beacons' clock."""

from __future__ import annotations

from app.agents.beacon_clock import BeaconClock


def test_before_the_first_beacon_nothing_is_guessed() -> None:
    """Without a beacon there is no clock to speak of."""
    assert BeaconClock().now_ms(5_000) is None


def test_the_least_delayed_beacon_decides() -> None:
    """A beacon that was held up does not set the clock back."""
    clock = BeaconClock()
    clock.seen(1_000, 50_100)
    clock.seen(1_500, 53_500)
    assert clock.now_ms(54_100) == 1_000 + 4_000 + 1_000


def test_a_clock_that_lost_time_is_followed_within_a_minute() -> None:
    """A new writer's clock may stand behind the old one's; the old guess is forgotten."""
    clock = BeaconClock()
    clock.seen(10_000, 0)
    for second in range(1, 70):
        clock.seen(7_000 + second * 1_000, second * 1_000)
    assert clock.now_ms(70_000) == 77_000 + 1_000
