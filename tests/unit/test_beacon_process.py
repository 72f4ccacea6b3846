"""The beacon writer's process over rows in memory: each store for itself, faults told, nothing left running."""

from __future__ import annotations

import threading

from app.beacon.run import BeaconProcess
from app.core.beacon_writer import BeaconRow, BeaconWriter, Beat, Role
from app.core.errors import DriftlineError, Unready

WAIT_S = 20.0


class Clock:
    """A monotonic clock that runs a hundred times too fast, so that a take-over takes no time."""

    def __init__(self) -> None:
        self._now_ms = 0
        self._lock = threading.Lock()

    def __call__(self) -> int:
        """Return the next moment."""
        with self._lock:
            self._now_ms += 50
            return self._now_ms


class MemoryRows:
    """A row in memory that a test can make fail or hang."""

    def __init__(self) -> None:
        self.row = BeaconRow(0, 0, 0, 0)
        self.fault: Exception | None = None
        self.hang: threading.Event | None = None
        self.is_closed = False

    def _meet_fate(self) -> None:
        if self.hang is not None:
            self.hang.wait(WAIT_S)
        if self.fault is not None:
            raise self.fault

    def read(self) -> BeaconRow:
        """Return the row, or fail."""
        self._meet_fate()
        return self.row

    def compare_and_set(self, beat: Beat) -> bool:
        """Write the row, or fail."""
        self._meet_fate()
        if (self.row.epoch, self.row.sequence) != (beat.expected_epoch, beat.expected_sequence):
            return False
        self.row = beat.row
        return True

    def close(self) -> None:
        """Note that the connection was let go."""
        self.is_closed = True


class Told:
    """Keeps what the process said."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.written: dict[str, int] = {}
        self.said: list[str] = []

    def _note(self, text: str) -> None:
        with self.changed:
            self.said.append(text)
            self.changed.notify_all()

    def beacon_written(self, store: str, row: BeaconRow) -> None:
        """Count it."""
        del row
        with self.changed:
            self.written[store] = self.written.get(store, 0) + 1
            self.changed.notify_all()

    def beacon_missed(self, store: str, fault: DriftlineError) -> None:
        """Say nothing."""

    def store_is_down(self, store: str, fault: DriftlineError, *, again_in_s: float, is_first: bool) -> None:
        """Keep it."""
        del again_in_s
        self._note(f"{store} is down: {fault.what}" if is_first else f"{store} is still down")

    def store_reached(self, store: str) -> None:
        """Keep it."""
        self._note(f"{store} is back")

    def role_changed(self, role: Role, epoch: int, unread: tuple[str, ...]) -> None:
        """Keep it."""
        del epoch, unread
        self._note(role.value)

    def wait(self, store: str, beacons: int) -> None:
        """Wait until a store has so many beacons more."""
        with self.changed:
            goal = self.written.get(store, 0) + beacons
            assert self.changed.wait_for(lambda: self.written.get(store, 0) >= goal, WAIT_S)

    def wait_said(self, text: str) -> None:
        """Wait until something was said."""
        with self.changed:
            assert self.changed.wait_for(lambda: text in self.said, WAIT_S)


class Running:
    """A process in a thread of the test."""

    def __init__(self) -> None:
        self.rows = {"pg": MemoryRows(), "my": MemoryRows()}
        self.told = Told()
        self.crash: BaseException | None = None
        clock = Clock()
        self.process = BeaconProcess(BeaconWriter(["pg", "my"], 1, 5, clock()), self.rows, 5, clock, self.told)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.process.run()
        except BaseException as crash:  # noqa: BLE001 - the test looks at it
            self.crash = crash

    def end(self) -> None:
        """Wait for the process to end."""
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()

    def stop(self) -> None:
        """Stop it."""
        self.process.stop()
        self.end()


def test_it_watches_then_writes_into_every_store_and_lets_go_at_the_end() -> None:
    """One life of a writer that is alone."""
    running = Running()
    running.told.wait("pg", 3)
    running.told.wait("my", 3)
    running.stop()
    assert running.told.said[:2] == ["watching", "writing"]
    assert running.crash is None
    assert all(rows.is_closed for rows in running.rows.values())


def test_a_store_that_fails_is_told_once_and_comes_back_by_itself() -> None:
    """The other goes on meanwhile."""
    running = Running()
    running.told.wait("my", 1)
    running.rows["my"].fault = Unready("connection refused")
    running.told.wait_said("my is down: connection refused")
    running.told.wait("pg", 10)
    running.rows["my"].fault = None
    running.told.wait_said("my is back")
    running.told.wait("my", 3)
    running.stop()
    assert running.told.said.count("my is down: connection refused") == 1


def test_a_store_that_hangs_holds_up_no_other() -> None:
    """A server that takes the statement and never answers costs one thread."""
    running = Running()
    running.told.wait("my", 1)
    release = threading.Event()
    running.rows["my"].hang = release
    running.told.wait("pg", 20)
    running.rows["my"].hang = None
    release.set()
    running.told.wait("my", 3)
    running.stop()


def test_a_fault_of_ours_ends_the_process_and_is_raised() -> None:
    """A dead thread must not leave a process that looks alive."""
    running = Running()
    running.told.wait("pg", 1)
    running.rows["pg"].fault = RuntimeError("a fault of ours")
    running.end()
    assert isinstance(running.crash, RuntimeError)
