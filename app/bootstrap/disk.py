"""The disk that the state lives on."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from typing import Final

from app import observe
from app.adapters.logs import error_fields, log
from app.agents.disk_watch import DiskWatch
from app.observe import Meter
from app.settings import Settings

_LOOK_EVERY_S: Final = 1.0


def disk_watch(settings: Settings) -> DiskWatch:
    """Return what watches the space where the state lives."""
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    return DiskWatch(
        where=str(settings.state_dir),
        needed_bytes=settings.worker.disk_free_bytes_min,
        free_bytes=lambda: shutil.disk_usage(settings.state_dir).free,
    )


def state_bytes(settings: Settings) -> int:
    """Return what a worker's files take up on the disk, as far as they are still there when they are looked at."""
    found = 0
    for folder, _, names in os.walk(settings.state_dir / settings.worker.instance_id):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                found += os.stat(os.path.join(folder, name)).st_size  # noqa: PTH116, PTH118 - thousands each time
    return found


def wait_for_space(disk: DiskWatch, meter: Meter) -> None:
    """Return as soon as there is enough space to begin with."""
    if not disk.is_low:
        return
    log().error("the worker waits for space", **error_fields(disk.fault()))
    while not disk.is_freed:
        meter.set(observe.DISK_HEADROOM, disk.free_bytes())
        time.sleep(_LOOK_EVERY_S)
