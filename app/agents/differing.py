"""Name the fields in which two rows differ, from the CDC records that a finding's evidence points to.

The worker keeps no row images, so both records are read back through their kept offsets. Best effort and bounded: what
is gone, unreadable or too slow leaves the names out, and after a bad second it is not tried for a while. No value
leaves this file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from app.codec.envelope import Decoder
from app.core.digest import RowDigester
from app.core.errors import Undecodable, Unmappable, Unready
from app.core.finding import Finding, Shown

_READ_S: Final = 1.0
_BUDGET_MS: Final = 500
_PER_MS: Final = 3_000
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


_NAMED_MAX: Final = 2_000
"""Drifts whose names are kept for the later steps of their lives."""

Spot = tuple[str, int, int]
LookUp = Callable[[Sequence[Spot], float], Mapping[Spot, LookedUp]]


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
        self._named: dict[bytes, tuple[bytes, bytes, tuple[str, ...]]] = {}

    def names(self, finding: Finding) -> tuple[str, ...]:
        """Return the names of the fields that differ, empty where that cannot be told."""
        evidence = finding.evidence
        if not finding.expected_digest or not finding.intended_digest:
            return ()
        if not evidence.authority_stays or not evidence.replica_stays:
            return ()
        held = self._named.get(finding.finding_id)
        if held is not None and held[2] and held[:2] == (finding.expected_digest, finding.intended_digest):
            return held[2]
        started_ms = self._clock_ms()
        if started_ms - self._since_ms > _PER_MS:
            self._since_ms, self._spent_ms = started_ms, 0
        if self._spent_ms > _BUDGET_MS:
            return ()
        truth, shown = evidence.authority_stays[-1], evidence.replica_stays[-1]
        try:
            found = self._look_up([_spot(stay) for stay in (truth, shown) if stay.offset >= 0], _READ_S)
        except Unready:
            return ()
        finally:
            self._spent_ms += self._clock_ms() - started_ms
        expected = self._fields(finding.entity, finding.authority, found.get(_spot(truth)))
        actual = self._fields(finding.entity, finding.replica, found.get(_spot(shown)))
        names = tuple(name for name, digest in expected.items() if name in actual and actual[name] != digest)
        if len(self._named) >= _NAMED_MAX:
            self._named.clear()
        self._named[finding.finding_id] = (finding.expected_digest, finding.intended_digest, names)
        return names

    def _fields(self, entity: str, store: str, record: LookedUp | None) -> dict[str, bytes]:
        reader = self._readers.get((entity, store))
        if reader is None or record is None:
            return {}
        decoder, digester = reader
        try:
            event = decoder.decode(record.key, record.value)
            return {} if event is None or event.after is None else digester.field_digests(event.after)
        except (Undecodable, Unmappable, Unready):
            return {}


def _spot(shown: Shown) -> Spot:
    return shown.topic, shown.partition, shown.offset
