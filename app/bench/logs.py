"""The logs of a deployment's two stores, and what was planted in them: they grow stretch by stretch."""

from __future__ import annotations

from heapq import merge
from typing import Final, NamedTuple

from app.adapters.system_clock import wall_ms
from app.bench.deployment import Deployment
from app.bench.envelopes import headers_of
from app.bench.load import BEACON_EVERY_US, WINDOW_MS, Change, Stretch, damaged_at_us
from app.bench.store_log import StoreLog, planted_in
from app.bench.writing import LogOrder, Writer, write_logs

PACE_PER_S: Final = 10_000
"""Changes of the authority in a second of the logs' own time, where they are written ahead."""

DRIFTS_PER_S: Final = 10
"""So many of the authority's changes a second are to drift under a live load, however heavy it is."""

QUIET_US: Final = WINDOW_MS * 1_000 + 3_000_000
"""How long beacons go on after the last change: what it made is due by then."""


_BEFORE_MS: Final = 12 * 3_600_000
"""The logs' clock began so long before they are written: none of their records comes from the future."""


class Damage(NamedTuple):
    """A planted change, and the wall's clock when the stores began to differ."""

    change: Change
    at_wall_ms: float


class Live(NamedTuple):
    """What was written in real time: what was planted, and by how much the writer was late at most."""

    damages: list[Damage]
    late_ms: float


class Logs:
    """What both stores' connectors have written so far."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._next = Stretch(0, 0, BEACON_EVERY_US, PACE_PER_S)
        self._began_wall_ms = wall_ms() - _BEFORE_MS
        self.planted: list[Change] = []

    @property
    def due_ms(self) -> int:
        """The moment of the beacons' clock up to which everything can be proven by what was written."""
        return (self._next.begin_us - BEACON_EVERY_US - QUIET_US) // 1_000

    def write_snapshot(self) -> None:
        """Write every row as a snapshot reads it, and beacons until it is complete."""
        self._write(None, 0)
        self.write(0)

    def write(self, count: int) -> None:
        """Write so many changes of the authority and what the replica makes of them, as fast as it goes."""
        stretch = self._begun(count, PACE_PER_S, self._deployment.load.drifting)
        self._write(stretch, stretch.end_us + QUIET_US)

    def write_live(self, per_s: float, seconds: float) -> Live:
        """Write so many changes of the authority a second, each when it is due."""
        stretch = self._begun(int(per_s * seconds), per_s, DRIFTS_PER_S / per_s)
        deployment = self._deployment
        logs = [StoreLog(side, deployment.load, deployment.ids_of(side)) for side in deployment.sides]
        began_wall_ms = wall_ms()
        origin_ms = began_wall_ms - stretch.begin_us // 1_000
        writer = Writer(deployment.bootstrap, origin_ms, headers_of(deployment.sides[0]), linger_ms=5)
        damages = [
            Damage(change, began_wall_ms + (damaged_at_us(change, stretch) - stretch.begin_us) / 1_000)
            for change in planted_in(deployment.load, stretch)
        ]
        streams = (log.stretch(stretch, stretch.end_us + QUIET_US) for log in logs)
        late_s = writer.write_in_time(merge(*streams, key=lambda record: record.at_us), stretch.begin_us)
        writer.finish()
        return Live(damages, late_s * 1_000)

    def _begun(self, count: int, per_s: float, drifting: float) -> Stretch:
        stretch = Stretch(self._next.first, count, self._next.begin_us, per_s, drifting)
        self.planted += planted_in(self._deployment.load, stretch)
        self._next = Stretch(stretch.first + count, 0, stretch.end_us + QUIET_US + BEACON_EVERY_US, PACE_PER_S)
        return stretch

    def _write(self, stretch: Stretch | None, until_us: int) -> None:
        deployment = self._deployment
        write_logs(
            [
                LogOrder(
                    deployment.bootstrap,
                    self._began_wall_ms,
                    side,
                    deployment.load,
                    deployment.ids_of(side),
                    stretch,
                    until_us,
                )
                for side in deployment.sides
            ]
        )
