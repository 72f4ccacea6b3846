"""The beacon writer's process: one thread per store, so that a store that is down or slow holds up no other.

What to write is decided by `app.core.beacon_writer`; here is only the doing: read, write, wait, and say when a store
comes or goes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from app.core.beacon_writer import BeaconRow, BeaconWriter, Beat, Role
from app.core.errors import DriftlineError

_BACKOFF_FIRST_S: Final = 0.5
_BACKOFF_MAX_S: Final = 5.0
_JOIN_S: Final = 15.0
_REPEAT_FAULT_EVERY: Final = 12


class BeaconRows(Protocol):
    """The row of one store (see `app.adapters.beacon_rows`)."""

    def read(self) -> BeaconRow:
        """Return the row as committed; a `DriftlineError` where it cannot be had."""
        ...

    def compare_and_set(self, beat: Beat) -> bool:
        """Write the beat's row if the store's is as expected; False if it is not."""
        ...

    def close(self) -> None:
        """Let the connection go."""
        ...


class Tell(Protocol):
    """What the process says of itself; the shell gives logs and metrics."""

    def beacon_written(self, store: str, row: BeaconRow) -> None:
        """A store committed a beacon."""
        ...

    def beacon_missed(self, store: str, fault: DriftlineError) -> None:
        """A store could not be read or written."""
        ...

    def store_is_down(self, store: str, fault: DriftlineError, *, again_in_s: float, is_first: bool) -> None:
        """Said at the first fault of a row of them (`is_first`), and again now and then."""
        ...

    def store_reached(self, store: str) -> None:
        """A store that had failed answers again."""
        ...

    def role_changed(self, role: Role, epoch: int, unread: tuple[str, ...]) -> None:
        """The writer writes now, or watches; `unread` are stores it has never been able to read."""
        ...


class BeaconProcess:
    """Writes beacons into all stores until it is stopped."""

    def __init__(
        self,
        writer: BeaconWriter,
        rows: Mapping[str, BeaconRows],
        interval_ms: int,
        monotonic_ms: Callable[[], int],
        tell: Tell,
    ) -> None:
        self._writer = writer
        self._rows = rows
        self._interval_s = interval_ms / 1_000
        self._monotonic_ms = monotonic_ms
        self._tell = tell
        self._deciding = threading.Lock()
        self._stopping = threading.Event()
        self._told_role: tuple[Role, int] | None = None
        self._crash: BaseException | None = None

    def stop(self) -> None:
        """Ask every thread to end after what it is doing; safe to call from a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Run until stopped. A fault of ours in any thread ends all and is raised here."""
        threads = [
            threading.Thread(target=self._guarded, args=(store,), name=f"beacon-{store}", daemon=True)
            for store in self._rows
        ]
        for thread in threads:
            thread.start()
        # With a timeout, or a signal would not be seen while waiting.
        while not self._stopping.wait(1.0):
            pass
        for thread in threads:
            thread.join(_JOIN_S)
        if self._crash is not None:
            raise self._crash

    def _guarded(self, store: str) -> None:
        try:
            self._tend(store)
        except BaseException as crash:  # noqa: BLE001 - a dead thread must not leave a process that looks alive
            self._crash = crash
            self.stop()
        finally:
            self._rows[store].close()

    def _tend(self, store: str) -> None:
        faults = 0
        due_s = self._monotonic_ms() / 1_000
        while not self._stopping.is_set():
            try:
                self.step(store)
            except DriftlineError as fault:
                with self._deciding:
                    self._writer.unsettled(store)
                again_in_s = min(_BACKOFF_MAX_S, _BACKOFF_FIRST_S * 2 ** min(faults, 10))
                self._tell.beacon_missed(store, fault)
                if faults % _REPEAT_FAULT_EVERY == 0:
                    self._tell.store_is_down(store, fault, again_in_s=again_in_s, is_first=faults == 0)
                faults += 1
                self._stopping.wait(again_in_s)
                due_s = self._monotonic_ms() / 1_000
                continue
            if faults:
                faults = 0
                self._tell.store_reached(store)
            now_s = self._monotonic_ms() / 1_000
            due_s = max(due_s + self._interval_s, now_s)
            self._stopping.wait(due_s - now_s)

    def step(self, store: str) -> None:
        """Do what is due in one store: read its row, or write one beacon. Raises what the store raises."""
        rows = self._rows[store]
        with self._deciding:
            beat = self._writer.next_beat(store, self._monotonic_ms())
        if beat is None:
            row = rows.read()
            with self._deciding:
                now_ms = self._monotonic_ms()
                self._writer.read_back(store, row, now_ms)
                beat = self._writer.next_beat(store, now_ms)
        self._tell_role()
        if beat is None:
            return
        is_written = rows.compare_and_set(beat)
        with self._deciding:
            if is_written:
                self._writer.acknowledged(store, beat, self._monotonic_ms())
            else:
                self._writer.unsettled(store)
        if is_written:
            self._tell.beacon_written(store, beat.row)

    def _tell_role(self) -> None:
        with self._deciding:
            role, epoch, unread = self._writer.role, self._writer.epoch, self._writer.unread()
            if (role, epoch) == self._told_role:
                return
            self._told_role = (role, epoch)
        self._tell.role_changed(role, epoch, unread)
