"""The same hop's events, what is kept of them, and what the peers are made of."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import xxhash

from app.bench import peers
from app.bench.contenders.work import entry_of
from app.bench.hop_events import hop_events
from app.core.errors import Unready


def test_events_are_of_the_size_and_shape_that_was_said() -> None:
    """About 324 bytes, a key in its own partition each time, rising LSNs."""
    events = list(hop_events("events", 2_000, 500))
    sizes = [len(event.value) for event in events]
    assert 300 < sum(sizes) / len(sizes) < 350
    lsns = [json.loads(event.value)["source"]["lsn"] for event in events]
    assert lsns == sorted(set(lsns))
    assert all(json.loads(e.key)["id"] == json.loads(e.value)["after"]["id"] for e in events)
    partitions: dict[bytes, set[int]] = {}
    for event in events:
        partitions.setdefault(event.key, set()).add(event.partition)
    assert {len(found) for found in partitions.values()} == {1}
    assert max(Counter(event.key for event in events).values()) < 20


def test_an_entry_is_the_lsn_and_the_digest_of_five_columns() -> None:
    """Computed once by hand; a column that is not compared changes nothing, the newer of two entries is the higher."""
    row = {"id": 1, "name": "n", "price": "1.50", "quantity": 7, "status": "new", "changed_at": "t", "note": "x"}

    def entry(lsn: int, **other: object) -> bytes:
        return entry_of(json.dumps({"after": {**row, **other}, "source": {"lsn": lsn}}).encode())

    expected = (259).to_bytes(8, "big") + xxhash.xxh3_128_digest(b"n\x1f1.50\x1f7\x1fnew\x1ft")
    assert entry(259) == expected
    assert entry(259, note="y") == expected
    assert entry(259, quantity=8) != expected
    assert entry(260) > entry(259) > entry(5)


def test_a_peer_that_cannot_be_made_is_told_and_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A half-made one is made again; a missing tool is named."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(Unready, match="mvn is not there"):
        peers.java_command()
    made: list[Path] = []
    first = peers._made("peer", [], made.append)
    assert peers._made("peer", [], made.append) == first
    assert made == [first]
    (first / "finished").unlink()
    peers._made("peer", [], made.append)
    assert made == [first, first]
