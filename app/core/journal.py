"""What a partition knows besides its rows, as records under `META` in the same table: chains, beacons, coverage, notes.

They are written with the rows in one batch, so that a restart finds what was reached together with what was folded. A
note is a packed list of keys whose stores did not agree for good; it goes when the last of them does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from app.core.digest import meaning_of
from app.core.limits import KEYS_PER_NOTE_MAX, NOTE_BYTES_MAX
from app.core.observation import Link
from app.core.position import BEFORE_ALL
from app.core.progress import Chain, EntityProgress, Progress

META = b"\x00"
ROW = b"\x01"

Write = tuple[bytes, bytes | None]

GAP_RECORDS = META + b"g"
_NOTE, _FORGOTTEN, _BEACON, _ENTITY, _CHAIN = META + b"n", META + b"f", META + b"b", META + b"e", META + b"c"
_RANKS = {GAP_RECORDS: 0, _NOTE: 1, _FORGOTTEN: 1, _BEACON: 3, _ENTITY: 3, _CHAIN: 5}
_ROW_RANK = 2


def commit_rank(write: Write) -> int:
    """Return in which order a commit is written, since each beginning of it may be all that a kill leaves.

    Gaps come before the rows that no longer show them, notes before the rows that they find, and how far rows forgot
    before those that did; a sweep's end is known behind all. A store's log stands no further than its beacons, which
    would else look like those of a log that began anew when they come again. An entity is uncovered before its store is
    known beyond what uncovers it, which would not be seen when it comes again. Chains are last: what they claim is
    there. A note that is not needed goes after the rows.
    """
    key, value = write
    if key[:1] != META:
        return _ROW_RANK
    return 4 if value is None else _RANKS.get(key[:2], 4)


def precedes_rows(write: Write) -> bool:
    """Whether rows that are written must find this written before them."""
    return commit_rank(write) < _ROW_RANK


def row_key(entity: int, canonical_key: bytes) -> bytes:
    """Return the table key of a row; rows of an entity are together and in the order of their keys."""
    return ROW + entity.to_bytes(4, "big") + canonical_key


def chain_record(link: Link, chain: Chain) -> Write:
    """Return what was reached of a CDC partition."""
    key = _CHAIN + link.topic.encode() + b"\x00" + str(link.partition).encode()
    return key, json.dumps([chain.reached, chain.newest.hex(), chain.epoch, chain.streaming]).encode()


def beacon_records(progress: Progress, store: str, previous_acknowledged_ms: int) -> list[Write]:
    """Return the newest beacon of a store, and the removal of one that is not kept any longer."""
    timeline = progress.stores[store].timeline
    prefix = _BEACON + store.encode() + b"\x00"
    value = [timeline.issued_ms[-1], previous_acknowledged_ms, *timeline.sequence]
    forgotten = timeline.forget_oldest()
    written: list[Write] = [(prefix + timeline.positions[-1], json.dumps(value).encode())]
    return written if forgotten is None else [*written, (prefix + forgotten, None)]


def store_record(progress: Progress, name: str) -> Write:
    """Return what is known of a store's log."""
    store = progress.stores[name]
    value = {
        "epoch": store.epoch,
        "snapshots": [place.hex() for place in store.snapshots],
        "broken_in_a_row": store.broken_in_a_row,
        "log_restarted": store.log_restarted,
        "log_began": store.log_began,
        "snapshot_seen": store.snapshot_seen,
        "server": store.server,
        "last_beacon": store.last_beacon.hex(),
        "writers_began_ms": sorted(progress.writers_began_ms.items())[-8:],
    }
    if not store.has_snapshot:
        value["newest"] = store.newest
    return META + b"s" + name.encode(), json.dumps(value).encode()


def entity_record(entity: EntityProgress) -> Write:
    """Return an entity's coverage. Watermarks are not kept: they are earned again by the next barrier."""
    value = {
        "meaning": meaning_of(entity.contract),
        "outdated": entity.outdated,
        "covered_at_ms": entity.covered_at_ms,
        "base_ms": entity.base_ms,
        "floor": [at.hex() for at in entity.floor],
        "cuts": [[at.hex() for at in cuts] for cuts in entity.cuts],
        "swept_replicas": entity.swept,
    }
    if any(at != BEFORE_ALL for at in entity.passed):
        value["passed"] = [at.hex() for at in entity.passed]
    if any(entity.outdated_at):
        value["outdated_at"] = [at.hex() for at in entity.outdated_at]
    return _ENTITY + entity.contract.number.to_bytes(4, "big"), json.dumps(value).encode()


def forgotten_record(entity: EntityProgress) -> Write:
    """Return up to where rows of an entity's stores have forgotten what they showed."""
    value = [at.hex() for at in entity.forgotten_to]
    return _FORGOTTEN + entity.contract.number.to_bytes(4, "big"), json.dumps(value).encode()


def restore(progress: Progress, notes: Notes, items: Iterable[tuple[bytes, bytes]]) -> None:
    """Take in all records under `META`, in the order of their keys."""
    entities: list[tuple[EntityProgress, bytes]] = []
    for key, value in items:
        kind, rest = key[1:2], key[2:]
        if kind == b"c":
            topic, _, number = rest.rpartition(b"\x00")
            reached, newest, epoch, streaming = json.loads(value)
            progress.chains[topic.decode(), int(number)] = Chain(reached, bytes.fromhex(newest), epoch, streaming)
        elif kind == b"b":
            name, _, at = rest.partition(b"\x00")
            issued_ms, acknowledged_ms, writer_epoch, sequence = json.loads(value)
            if name.decode() in progress.stores:
                timeline = progress.stores[name.decode()].timeline
                timeline.add(at, (writer_epoch, sequence), issued_ms, acknowledged_ms)
        elif kind == b"s" and rest.decode() in progress.stores:
            _restore_store(progress, rest.decode(), value)
        elif kind == b"e" and int.from_bytes(rest, "big") in progress.entities:
            entities.append((progress.entities[int.from_bytes(rest, "big")], value))
        elif kind == b"f" and int.from_bytes(rest, "big") in progress.entities:
            held = [bytes.fromhex(at) for at in json.loads(value)]
            progress.entities[int.from_bytes(rest, "big")].forgotten_to[: len(held)] = held
        elif kind == b"n":
            notes.restore(int.from_bytes(rest, "big"), _unpack_keys(value))
    for entity, value in entities:
        _restore_entity(progress, entity, value)


def _restore_store(progress: Progress, name: str, value: bytes) -> None:
    store, held = progress.stores[name], json.loads(value)
    store.epoch = held["epoch"]
    store.snapshots = [bytes.fromhex(place) for place in held["snapshots"]]
    store.broken_in_a_row = held["broken_in_a_row"]
    store.log_restarted = held["log_restarted"]
    store.log_began = held.get("log_began", 0)  # a state of before names no place of a log that was
    store.snapshot_seen = held["snapshot_seen"]
    store.server = held["server"]
    store.last_beacon = bytes.fromhex(held["last_beacon"])
    store.newest = tuple(held["newest"]) if held.get("newest") else None
    for epoch, began_ms in held["writers_began_ms"]:
        progress.writers_began_ms[epoch] = min(began_ms, progress.writers_began_ms.get(epoch, began_ms))


def _restore_entity(progress: Progress, entity: EntityProgress, value: bytes) -> None:
    held = json.loads(value)
    if held.get("meaning") != meaning_of(entity.contract):
        # The digests that are held mean something else: nothing is compared before all rows were read again.
        for i in range(len(entity.contract.stores)):
            progress.outdate(entity, i)
        return
    entity.outdated = held["outdated"]
    entity.covered_at_ms = held["covered_at_ms"]
    entity.base_ms = held["base_ms"]
    entity.floor = [bytes.fromhex(at) for at in held["floor"]]
    # A state of before knows of the newest of each store alone.
    cuts = held["cuts"] if "cuts" in held else [[at] if bytes.fromhex(at) != BEFORE_ALL else [] for at in held["floor"]]
    entity.cuts = [[bytes.fromhex(at) for at in each] for each in cuts]
    # A state that says it of all replicas at once is swept again.
    entity.swept = held.get("swept_replicas", entity.swept)
    entity.passed = [bytes.fromhex(at) for at in held.get("passed", [])] or entity.passed
    entity.outdated_at = [bytes.fromhex(at) for at in held.get("outdated_at", [])] or entity.outdated_at
    for i in range(len(entity.contract.stores)):
        progress.outdate_again(entity, i)


@dataclass(slots=True)
class Notes:
    """Which keys are not settled, in numbered records of many keys each."""

    noted: dict[bytes, int] = field(default_factory=dict)
    left: dict[int, int] = field(default_factory=dict)
    number: int = 0

    def restore(self, number: int, rows: Sequence[bytes]) -> None:
        """Take in a note."""
        self.number = max(self.number, number)
        for row in rows:
            previous = self.noted.get(row)
            if previous is not None:
                self.left[previous] -= 1
            self.noted[row] = number
            self.left[number] = self.left.get(number, 0) + 1

    def add(self, rows: Iterable[bytes]) -> list[Write]:
        """Note the rows that are not noted yet."""
        fresh = sorted(row for row in rows if row not in self.noted)
        written: list[Write] = []
        for chunk in _chunks(fresh):
            self.number += 1
            self.left[self.number] = len(chunk)
            self.noted.update(dict.fromkeys(chunk, self.number))
            written.append((_NOTE + self.number.to_bytes(8, "big"), _pack_keys(chunk)))
        return written

    def forget(self, row: bytes) -> list[Write]:
        """Take a settled row off its note, and the note away with its last row."""
        number = self.noted.pop(row, None)
        if number is None:
            return []
        self.left[number] -= 1
        if self.left[number]:
            return []
        del self.left[number]
        return [(_NOTE + number.to_bytes(8, "big"), None)]


def _chunks(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Yield keys as notes of them may be: not too many, and not too large."""
    begin, size_bytes = 0, 0
    for n, key in enumerate(keys):
        size_bytes += len(key)
        if n - begin == KEYS_PER_NOTE_MAX or (size_bytes > NOTE_BYTES_MAX and n > begin):
            yield keys[begin:n]
            begin, size_bytes = n, len(key)
    if keys:
        yield keys[begin:]


def _pack_keys(keys: Sequence[bytes]) -> bytes:
    return b"".join(len(key).to_bytes(2, "big") + key for key in keys)


def _unpack_keys(value: bytes) -> list[bytes]:
    keys = []
    at = 0
    while at < len(value):
        n = int.from_bytes(value[at : at + 2], "big")
        keys.append(value[at + 2 : at + 2 + n])
        at += 2 + n
    return keys
