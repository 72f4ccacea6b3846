"""A worker on a small disk of its own that others fill."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from app.core.finding import UnknownReason
from tests.integration.worker_world import WorkerWorld, two_agreeing_stores

pytestmark = pytest.mark.stack
UNSHARE = "/usr/bin/unshare"
DISK_MIB = 512
STEP_BYTES = 1024 * 1024
NEEDED_BYTES = 128 * 1024 * 1024


@pytest.fixture
def world(tmp_path: Path) -> Iterator[WorkerWorld]:
    """Give a world whose two stores agree."""
    with two_agreeing_stores(tmp_path) as made:
        yield made


@contextmanager
def _worker_on_a_small_disk(world: WorkerWorld) -> Iterator[Path]:
    """Run a worker in a mount namespace of its own; give the folder of its disk as others can reach it."""
    state = world.folder / "state"
    state.mkdir()
    mounting = f'mount -t tmpfs -o size={DISK_MIB}m none {state} && exec "$0" "$@"'
    if os.geteuid() != 0 or subprocess.run([UNSHARE, "-m", "true"], check=False).returncode:
        pytest.skip("only root can give a process a disk of its own")
    process = world.start(own={"disk_free_bytes_min": NEEDED_BYTES}, before=[UNSHARE, "-m", "sh", "-c", mounting])
    try:
        yield Path(f"/proc/{process.pid}/root{state}")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, world.log()
    finally:
        process.kill()
        process.wait()


def _fill(ballast: Path, leave_bytes: int) -> None:
    """Take all space of a disk but `leave_bytes`."""
    size_bytes = 0
    # The worker writes meanwhile, so the last step may be one too many.
    with ballast.open("wb") as file, suppress(OSError):
        while shutil.disk_usage(ballast.parent).free > leave_bytes:
            size_bytes += STEP_BYTES
            os.posix_fallocate(file.fileno(), 0, size_bytes)


@pytest.mark.parametrize("leave_bytes", [NEEDED_BYTES // 2, 0])
def test_a_worker_stops_for_its_disk_and_goes_on_when_space_is_freed(world: WorkerWorld, leave_bytes: int) -> None:
    """Nearly full or full to the last byte: it says so, writes nothing, goes on by itself, and finds what happened."""
    with _worker_on_a_small_disk(world) as disk:
        world.until(world.covered, within_s=60, why="coverage")
        _fill(disk / "ballast", leave_bytes)
        world.until(lambda: "waits for space" in world.log(), within_s=30, why="the end of the work")
        assert any(UnknownReason.DISK in report.unknown_keys for report in world.statuses().values())
        world.change("my", 7, ("rogue", "1.50"))
        world.sink.flush()
        (disk / "ballast").unlink()
        world.until(lambda: bool(world.findings()), within_s=60, why="the damage that was done meanwhile")
        world.until(lambda: not world.unknown(), within_s=30, why="no unknown")
    assert len({found.finding.finding_id for found in world.findings()}) == 1
