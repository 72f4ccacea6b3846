"""A burst: verdicts come later, none is lost, none is false, and memory stays where it was set."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.finding import DriftKind
from tests.integration.worker_world import WorkerWorld, two_agreeing_stores

pytestmark = pytest.mark.stack
KEYS = 8_000
ROUNDS = 3
DAMAGED = (3, 77, 198)
MEMORY_BYTES = 512 * 1024 * 1024


@pytest.fixture
def world(tmp_path: Path) -> Iterator[WorkerWorld]:
    """Give a world whose two stores agree."""
    with two_agreeing_stores(tmp_path) as made:
        yield made


def _peak_bytes(process: subprocess.Popen[bytes]) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def test_a_burst_delays_verdicts_and_neither_loses_nor_invents_any(world: WorkerWorld) -> None:
    """Far more comes in a second or two than can be folded in the window of a second; three rows really are wrong."""
    process = world.start(own={"memory_bytes_max": MEMORY_BYTES})
    try:
        world.until(world.covered, within_s=60, why="coverage")
        for round_ in range(ROUNDS):
            for number in range(1, KEYS + 1):
                # The replica follows at once: whoever is late by more than the window is the worker.
                name = f"name {number} {round_}"
                world.change("pg", number, (name, "1.50"))
                is_damage = round_ == ROUNDS - 1 and number in DAMAGED
                world.change("my", number, ("rogue" if is_damage else name, "1.50"))
        world.sink.flush()
        wanted = {world.key_hash(number, world.findings_entity())[0] for number in DAMAGED}
        world.until(lambda: {f.key_hash for f in world.findings()} >= wanted, within_s=120, why="the three damages")
        world.until(lambda: not world.unknown(), within_s=60, why="no unknown")
        peak_bytes = _peak_bytes(process)
    finally:
        process.terminate()
        assert process.wait(30) == 0, world.log()
    found = world.findings()
    assert {f.key_hash for f in found} == wanted
    assert {f.finding.kind for f in found} == {DriftKind.DIFFERENT}
    assert len({f.finding.finding_id for f in found}) == len(DAMAGED)
    assert peak_bytes < MEMORY_BYTES
