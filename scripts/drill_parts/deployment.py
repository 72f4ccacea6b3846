"""The files and topics of the drill's deployment: one contract, two stores, three keys, settings for each worker."""

from __future__ import annotations

import json
import random
import socket
import time
from pathlib import Path
from typing import Any, Final

from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # documented, not listed
from engine_judge.deployment import Deployment

from drill_parts.envelopes import TABLE_PARTITIONS

PROJECT: Final = Path(__file__).resolve().parents[2]
PARTITIONS: Final = 4
MEMORY_BYTES_MAX: Final = 402_653_184
"""The least that the settings allow: rows that wait for their deadline have to sleep."""
_CONTRACT: Final = """
entity: items
version: 1
authority: {{store: pg, table: public.items}}
replicas:
  - store: my
    table: shop.items
    window_ms: {window_ms}
key:
  id: {{type: int64}}
fields:
  name: {{type: string, nullable: false}}
  price: {{type: decimal, scale: 2, nullable: false}}
  quantity: {{type: int32, nullable: false}}
  placed_at: {{type: instant, nullable: false}}
  open: {{type: bool, nullable: false}}
  note: {{type: string}}
"""


def make(folder: Path, bootstrap: str, name: str, window_ms: int, seed: int) -> Deployment:
    """Write keys, contract and the judge's description into a folder, and make the topics of changes."""
    chance = random.Random(seed)  # noqa: S311 - a drill's keys protect nothing
    for inner in ("keys", "contracts", "state", "logs"):
        (folder / inner).mkdir(parents=True, exist_ok=True)
    for key in ("digest.key", "seal.key", "ledger.key"):
        path = folder / "keys" / key
        path.write_bytes(chance.randbytes(32))
        path.chmod(0o600)
    (folder / "placeholder").write_text("__drill_left_out__\n", encoding="ascii")
    (folder / "contracts" / "items.yaml").write_text(_CONTRACT.format(window_ms=window_ms), encoding="ascii")
    deployment = Deployment(
        bootstrap=bootstrap,
        name=name,
        entity="items",
        contract_version=1,
        authority_topic=f"{name}pg.public.items",
        replica_topic=f"{name}my.shop.items",
        authority_beacons=f"{name}pg.driftline.driftline_beacon",
        replica_beacons=f"{name}my.driftline.driftline_beacon",
        window_ms=window_ms,
        partitions=PARTITIONS,
        digest_key_file=str(folder / "keys" / "digest.key"),
        finding_schema_file=str(PROJECT / "schemas" / "finding.avsc"),
    )
    deployment.write(folder)
    own = [f"{name}{store}.driftline.driftline_{table}" for store in ("pg", "my") for table in ("ledger", "signal")]
    tables = {deployment.authority_topic, deployment.replica_topic}
    wanted = [
        NewTopic(topic, TABLE_PARTITIONS if topic in tables else 1, 1) for topic in (*deployment.change_topics, *own)
    ]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for made in admin.create_topics(wanted).values():
        made.result()
    # What was made is not known to every listener of the broker at once.
    while not {topic.topic for topic in wanted} <= admin.list_topics(timeout=10).topics.keys():
        time.sleep(0.1)
    return deployment


def settings_of(folder: Path, deployment: Deployment, worker: str) -> Path:
    """Write the settings of one worker, with a free port for its health page."""
    told: dict[str, Any] = {
        "deployment": deployment.name,
        "bootstrap": deployment.bootstrap,
        "keys_dir": "keys",
        "state_dir": "state",
        "contracts_dir": "contracts",
        "placeholder_file": "placeholder",
        "partitions": deployment.partitions,
        "worker": {"http_port": _free_port(), "instance_id": worker, "memory_bytes_max": MEMORY_BYTES_MAX},
        "stores": {
            store: {
                "kind": kind,
                "topic_prefix": deployment.name + store,
                "converter": "json",
                "host": "127.0.0.1",
                "port": 1,
                "database": "shop",
            }
            for store, kind in (("pg", "postgres"), ("my", "mariadb"))
        },
    }
    path = folder / f"{worker}.yaml"
    path.write_text(json.dumps(told), encoding="ascii")
    return path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
