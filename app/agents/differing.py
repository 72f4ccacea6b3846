"""Name the fields in which two rows differ, from the CDC records that a finding's evidence points to.

The worker keeps no row images, so both records are read back through their kept offsets. Best effort and bounded: what
is gone, unreadable or too slow leaves the names out, and after a bad second it is not tried for a while. No value
leaves this file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from app.codec.envelope import Decoder
from app.core.digest import RowDigester
from app.core.errors import Undecodable, Unmappable, Unready
from app.core.finding import Finding, Shown

_READ_S: Final = 0.25
_BUDGET_MS: Final = 300
_PER_MS: Final = 2_000
"""At most this share of the time goes into looking back: a thousand drifts at once get no names."""


class LookedUp(Protocol):
    """A record that was looked up."""

    @property
    def key(self) -> bytes | None:
        """Its key."""
        ...

    @property
    def value(self) -> bytes | None:
        """Its value."""
        ...


LookUp = Callable[[tuple[str, int, int], float], LookedUp | None]


class DifferingFields:
    """Finds the names. `readers` maps (entity, store) to what reads that store's records."""

    def __init__(
        self,
        look_up: LookUp,
        readers: Mapping[tuple[str, str], tuple[Decoder, RowDigester]],
        clock_ms: Callable[[], int],
    ) -> None:
        self._look_up = look_up
        self._readers = readers
        self._clock_ms = clock_ms
        self._since_ms = 0
        self._spent_ms = 0

    def names(self, finding: Finding) -> tuple[str, ...]:
        """Return the names of the fields that differ, empty where that cannot be told."""
        evidence = finding.evidence
        if not finding.expected_digest or not finding.intended_digest:
            return ()
        if not evidence.authority_stays or not evidence.replica_stays:
            return ()
        started_ms = self._clock_ms()
        if started_ms - self._since_ms > _PER_MS:
            self._since_ms, self._spent_ms = started_ms, 0
        if self._spent_ms > _BUDGET_MS:
            return ()
        try:
            truth = self._fields(finding.entity, finding.authority, evidence.authority_stays[-1])
            shown = self._fields(finding.entity, finding.replica, evidence.replica_stays[-1])
        finally:
            self._spent_ms += self._clock_ms() - started_ms
        return tuple(name for name, digest in truth.items() if name in shown and shown[name] != digest)

    def _fields(self, entity: str, store: str, shown: Shown) -> dict[str, bytes]:
        reader = self._readers.get((entity, store))
        if reader is None or shown.offset < 0:
            return {}
        decoder, digester = reader
        try:
            record = self._look_up((shown.topic, shown.partition, shown.offset), _READ_S)
            event = None if record is None else decoder.decode(record.key, record.value)
            return {} if event is None or event.after is None else digester.field_digests(event.after)
        except (Undecodable, Unmappable, Unready):
            return {}
