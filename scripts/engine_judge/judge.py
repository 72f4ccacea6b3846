"""The judgement: what the raw topics say must be, held against what the workers hold and told.

`compare` is free of Kafka, so that tests can show that it notices each kind of fault; `judge` reads the topics for it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engine_judge.deployment import Deployment
from engine_judge.findings import Findings, ToldDrift
from engine_judge.rebuild import Stay, StoreHistory, beacons_of, history_of
from engine_judge.rows import ABSENT, Digester, hash_of_key, number_of
from engine_judge.state import HeldRow, HeldSide, rows_of
from engine_judge.topics import Record, read_whole
from engine_judge.verdicts import Drift, drifts_of

FAULTS_TOLD = 20
_NOWHERE = HeldRow((HeldSide(ABSENT, -1, -1), HeldSide(ABSENT, -1, -1)), None)


@dataclass
class Judgement:
    """What was compared and every fault that was found; of many alike the first are told and all are counted."""

    rows: int = 0
    changes: int = 0
    sent_again: int = 0
    drifts: int = 0
    open_drifts: int = 0
    records_told: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def fault(self, what: str, told: str) -> None:
        """Note one fault; `what` is its kind."""
        self.counts[what] += 1
        if self.counts[what] <= FAULTS_TOLD:
            self.faults.append(f"{what}: {told}")


def compare(
    authority: StoreHistory,
    replica: StoreHistory,
    held: Mapping[int, HeldRow],
    told: Iterable[ToldDrift],
    *,
    window_ms: int,
    hashes: Mapping[int, bytes],
) -> Judgement:
    """Compare every row's final state and every verdict; `hashes` maps rows to the hashes that findings speak of."""
    judgement = Judgement(
        changes=authority.changes + replica.changes, sent_again=authority.sent_again + replica.sent_again
    )
    beats_ms = authority.beacons.issued_ms
    if beats_ms != replica.beacons.issued_ms:
        judgement.fault("the drill's own fault", "the two logs have not the same beacons")
    told_of: dict[bytes, list[ToldDrift]] = defaultdict(list)
    for drift in told:
        told_of[drift.key_hash].append(drift)
    for number in sorted(authority.numbers() | replica.numbers()):
        judgement.rows += 1
        sides = (authority.stays(number), replica.stays(number))
        row = held.get(number, _NOWHERE)
        for store, side, stays in zip(("authority", "replica"), row.sides, sides, strict=True):
            _compare_side(judgement, f"row {number} in the {store}", side, stays[-1])
        must = list(drifts_of(number, *sides, beats_ms, window_ms))
        _compare_drifts(judgement, number, must, told_of.pop(hashes[number], []), row.open_drift)
    for unknown in told_of.values():
        judgement.fault("a verdict on no row", f"{len(unknown)} drifts of a key that no log has")
    for number in held.keys() - authority.numbers() - replica.numbers():
        judgement.fault("a row that no log has", f"row {number}")
    return judgement


def _compare_side(judgement: Judgement, where: str, side: HeldSide, newest: Stay) -> None:
    if (side.digest == ABSENT) is not (newest.digest == ABSENT):
        lost = "is not held" if side.digest == ABSENT else "is held but is not there"
        judgement.fault("a lost row" if side.digest == ABSENT else "a row too many", f"{where} {lost}")
    elif side.digest != newest.digest:
        judgement.fault("a wrong digest", f"{where}: {side.digest.hex()} is not {newest.digest.hex()}")
    elif newest.digest != ABSENT and (side.partition, side.offset) != (newest.partition, newest.offset):
        is_at, must = f"{side.partition}:{side.offset}", f"{newest.partition}:{newest.offset}"
        judgement.fault("a wrong offset", f"{where}: the newest change is held to be at {is_at}, and it is at {must}")


def _compare_drifts(
    judgement: Judgement, number: int, must: list[Drift], told: list[ToldDrift], held_open: bytes | None
) -> None:
    """Compare the drifts of one row; each is told under one id, and the open one is held under that id."""
    judgement.drifts += len(must)
    judgement.records_told += sum(len(drift.stages) for drift in told)
    open_id: bytes | None = None
    for drift in must:
        judgement.kinds[drift.kind] += 1
        judgement.open_drifts += drift.is_open
        same = [other for other in told if other.deadline_ms == drift.deadline_ms]
        where = f"row {number}, {drift.kind}, judged at {drift.deadline_ms} ms"
        if not same:
            judgement.fault("a missing verdict", where)
            continue
        if len(same) > 1:
            judgement.fault("a verdict under two ids", f"{where}: {' '.join(one.drift_id.hex() for one in same)}")
        told = [other for other in told if other.deadline_ms != drift.deadline_ms]
        found = same[0]
        if found.kind != drift.kind:
            judgement.fault("a wrong kind", f"{where}: told as {found.kind}")
        if found.is_open is not drift.is_open:
            judgement.fault("a wrong end", f"{where}: told {' '.join(found.stages)}")
        open_id = found.drift_id if drift.is_open else open_id
    for other in told:
        where = f"row {number}, {other.kind}, judged at {other.deadline_ms} ms"
        judgement.fault("a verdict that nothing supports", where)
    if held_open != open_id and not (open_id is None and any(drift.is_open for drift in must)):
        shown = [drift_id.hex() if drift_id else "none" for drift_id in (held_open, open_id)]
        judgement.fault("a wrong open drift", f"row {number}: {shown[0]} is held, told was {shown[1]}")


def judge(deployment: Deployment) -> Judgement:
    """Read all topics and compare."""
    digest_key = Path(deployment.digest_key_file).read_bytes()
    digester = Digester(digest_key, deployment.entity, deployment.contract_version)
    authority = _history(deployment, "pg", deployment.authority_beacons, deployment.authority_topic, digester)
    replica = _history(deployment, "my", deployment.replica_beacons, deployment.replica_topic, digester)
    newest: dict[bytes, bytes] = {}
    for record in _whole(deployment, deployment.changelog):
        if record.value is None:
            newest.pop(record.key or b"", None)
        else:
            newest[record.key or b""] = record.value
    findings = Findings(Path(deployment.finding_schema_file))
    findings.read(_whole(deployment, deployment.drifts))
    numbers = authority.numbers() | replica.numbers()
    judgement = compare(
        authority,
        replica,
        dict(rows_of(newest, number_of(deployment.entity))),
        findings.drifts.values(),
        window_ms=deployment.window_ms,
        hashes={number: hash_of_key(digest_key, deployment.entity, number) for number in numbers},
    )
    for told in findings.broken:
        judgement.fault("records that contradict each other", told)
    return judgement


def _history(
    deployment: Deployment, store: str, beacon_topic: str, table_topic: str, digester: Digester
) -> StoreHistory:
    return history_of(_whole(deployment, table_topic), beacons_of(_whole(deployment, beacon_topic), store), digester)


def _whole(deployment: Deployment, topic: str) -> Iterable[Record]:
    return read_whole(deployment.bootstrap, topic)
