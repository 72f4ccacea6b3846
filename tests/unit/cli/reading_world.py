"""A deployment in memory for reading commands: topics are lists, settings the fewest that do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from app.adapters.topic_log import Begin, LogRecord
from app.cli.deployment import Deployment
from app.codec.records import FixedSchemas, RecordCodec
from app.core.errors import Unready
from app.core.finding import DriftKind, Evidence, Finding, Shown, Stage, Verdict
from app.core.published import PublishedFinding
from app.core.store import Converter, StoreKind
from app.settings import Settings, StoreSettings
from app.topics import ALL, Topic

NOW_MS = 1_795_460_400_000
CODEC = RecordCodec("shop", FixedSchemas())


class MemoryLog:
    """Topics as lists of records."""

    def __init__(self) -> None:
        self.topics: dict[str, list[LogRecord]] = {topic.name("shop"): [] for topic in ALL}
        self.deleted = 0
        self.made_anew: list[str] = []

    def put(self, topic: str, value: bytes | None, *, key: bytes | None = None, at_wall_ms: int = NOW_MS) -> None:
        """Append a record to partition 0."""
        records = self.topics.setdefault(topic, [])
        records.append(LogRecord(topic, 0, len(records), at_wall_ms, key, value))

    def ends(self, topics: Sequence[str], *, latest: bool) -> dict[tuple[str, int], int]:
        """Return where partition 0 of each topic begins and ends."""
        return {(topic, 0): len(self.topics[topic]) if latest else self.deleted for topic in topics}

    def ids(self, topics: Sequence[str]) -> dict[str, str]:
        """Return ids that change with the topics that were made anew."""
        return {topic: f"{topic} {self.made_anew.count(topic)}" for topic in topics}

    def until_now(self, topics: Sequence[str], begin: Begin = None) -> Iterator[LogRecord]:
        """Yield what there is."""
        for topic in topics:
            if topic not in self.topics:
                raise Unready(f"there is no topic {topic}", hint="`driftline init` makes the topics")
            for each in self.topics[topic][self.deleted :]:
                if isinstance(begin, int):
                    is_wanted = each.at_wall_ms >= begin
                else:
                    is_wanted = each.offset >= (begin or {}).get((topic, each.partition), 0)
                if is_wanted:
                    yield each

    def on_and_on(self, topics: Sequence[str], begin: Begin = None) -> Iterator[LogRecord | None]:
        """Yield what there is, then be stopped as by a person."""
        yield None
        yield from self.until_now(topics, begin)
        raise KeyboardInterrupt


def settings_in(folder: Path) -> Settings:
    """Return settings of a deployment with two stores."""

    def store(name: str, kind: StoreKind) -> StoreSettings:
        return StoreSettings(name, kind, name, Converter.JSON, "127.0.0.1", 1, "shop")

    return Settings(
        deployment="shop",
        bootstrap="127.0.0.1:1",
        keys_dir=folder / "keys",
        state_dir=folder / "state",
        contracts_dir=folder / "contracts",
        placeholder_file=folder / "placeholder",
        stores={"pg": store("pg", StoreKind.POSTGRES), "my": store("my", StoreKind.MARIADB)},
        partitions=1,
        approver_key_file=folder / "keys" / "approver.key",
    )


class World:
    """A deployment whose topics a test fills."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log = MemoryLog()
        self.settings = settings_in(folder)
        deployment = Deployment(self.settings, "test")
        deployment.__dict__["log"] = self.log
        monkeypatch.setattr("app.cli.deployment.Deployment.of", lambda *_: deployment)
        monkeypatch.setattr("app.adapters.system_clock.wall_ms", lambda: NOW_MS)

    def put(self, topic: Topic, value: bytes, at_wall_ms: int = NOW_MS) -> None:
        """Append a record to a topic of ours."""
        self.log.put(topic.name("shop"), value, at_wall_ms=at_wall_ms)


def shown(digest: bytes, since_ms: int, offset: int, topic: str) -> Shown:
    """Return a state that began within 3 ms."""
    return Shown(digest, bytes(2) + b"\1" + bytes(16) + bytes([offset]), since_ms, since_ms + 3, topic, 0, offset, 70)


def stale(stage: Stage = Stage.CONFIRMED, **changes: object) -> PublishedFinding:
    """Return an honest finding: the authority moved at 10,000 ms, the replica did not follow in 10 s."""
    old, new = b"o" * 16, b"n" * 16
    evidence = Evidence(
        authority_stays=(shown(old, 0, 1, "pg.public.orders"), shown(new, 10_000, 2, "pg.public.orders")),
        replica_stays=(shown(old, 500, 1, "my.shop.orders"),),
        authority_watermark_ms=30_000,
        replica_watermark_ms=31_000,
        vouched_until_ms=10_003,
        judged_at_ms=20_003,
        window_ms=10_000,
    )
    values: dict[str, object] = {
        "finding_id": b"f" * 16,
        "stage": stage,
        "verdict": Verdict.DRIFT,
        "kind": DriftKind.STALE,
        "checker": "key/1",
        "contract_version": 1,
        "entity": "orders",
        "authority": "pg",
        "replica": "my",
        "canonical_key": b"",
        "shard": 0,
        "observations_partition": 0,
        "evidence": evidence,
        "expected_digest": old,
        "intended_digest": new,
        "authority_position": b"",
        "replica_position": b"",
        "transaction": 70,
        "incident_id": b"",
        "incident_rows": 0,
        "command_id": b"",
        "trace_id": b"t" * 16,
        "differing_columns": ("amount",),
        **changes,
    }
    return PublishedFinding(Finding(**values), b"sealed", b"h" * 16)  # type: ignore[arg-type]  # by name
