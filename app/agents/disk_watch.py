"""Stop before the disk is full: what RocksDB cannot write any more would leave it half written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from app.core.errors import DiskFull
from app.core.finding import UnknownReason
from app.core.status import StatusReport


@dataclass(frozen=True, slots=True)
class DiskWatch:
    """Looks at the space that is left where the state lives.

    `needed_bytes` is the low-water mark: enough for the last commit and for what RocksDB rearranges meanwhile. After
    it was reached a quarter more is wanted before the work goes on, so that it does not end again at once.
    """

    where: str
    needed_bytes: int
    free_bytes: Callable[[], int]

    @property
    def is_low(self) -> bool:
        """Whether the work must end."""
        return self.free_bytes() < self.needed_bytes

    @property
    def is_freed(self) -> bool:
        """Whether the work may go on."""
        return self.free_bytes() >= self.needed_bytes * 5 // 4

    def fault(self) -> DiskFull:
        """Return what ends the work."""
        return DiskFull(
            f"less than {self.needed_bytes} bytes are free",
            where=self.where,
            hint="free some space: the worker goes on by itself; worker.disk_free_bytes_min is the mark",
        )


def with_disk_full(reports: Sequence[StatusReport]) -> list[StatusReport]:
    """Return the last reports of a worker that ends for its disk: of no replica anything is known any more."""
    return [
        report
        if report.is_authority
        # How many keys change unseen is not counted: at least those that wait.
        else replace(report, unknown_keys={**report.unknown_keys, UnknownReason.DISK: max(1, report.waiting_keys)})
        for report in reports
    ]
