"""Passwords, made once per stack, each in files that only their owner may read.

`secrets/postgres/ROLE`, `secrets/mariadb/ROLE` and `secrets/mongodb/ROLE` hold one password each.
`secrets/feed.properties` and `secrets/pipeline.properties` are what the two Connect workers read through their file
config provider, relative to their working folder, so that a connector's JSON is the same wherever it runs and holds no
secret.
"""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

POSTGRES_ADMIN, MARIADB_ADMIN, MONGODB_ADMIN = "postgres", "root", "root"
ADMINS = {"postgres": POSTGRES_ADMIN, "mariadb": MARIADB_ADMIN, "mongodb": MONGODB_ADMIN}
ROLES = ("shop_owner", "shop_sink", "cdc_feed", "cdc_pipeline")
DATABASE = "shop"
PLACEHOLDER = "placeholder"


@dataclass(frozen=True)
class Addresses:
    """Where the servers are, as seen from a Connect worker."""

    bootstrap: str
    registry: str
    postgres_host: str
    postgres_port: int
    mariadb_host: str
    mariadb_port: int


def write_private(path: Path, text: str) -> None:
    """Replace a file that only its owner may read; never half of it, and never readable to others for a moment."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as stream:
        stream.write(text)
    fresh.replace(path)


def _secret(path: Path) -> str:
    """The secret of a file, made when it is not there."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, secrets.token_hex(16))
    return path.read_text(encoding="ascii")


def passwords(folder: Path, database: str) -> dict[str, str]:
    """Role to password for `postgres`, `mariadb` or `mongodb`."""
    return {role: _secret(folder / database / role) for role in (ADMINS[database], *ROLES)}


def placeholder(folder: Path) -> str:
    """What stands in an event for a large value that the log left out: random, so that no row can hold it by chance."""
    path = folder / PLACEHOLDER
    if not path.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, f"driftline-left-out-{secrets.token_hex(16)}")
    return path.read_text(encoding="ascii")


def write_worker_files(folder: Path, addresses: Addresses, more_feed: Mapping[str, str] | None = None) -> None:
    """The two properties files of the Connect workers; each worker sees the roles that it uses and no other."""
    postgres, mariadb = passwords(folder, "postgres"), passwords(folder, "mariadb")
    common = {
        "kafka.bootstrap": addresses.bootstrap,
        "registry.url": addresses.registry,
        "postgres.host": addresses.postgres_host,
        "postgres.port": str(addresses.postgres_port),
        "postgres.database": DATABASE,
        "mariadb.host": addresses.mariadb_host,
        "mariadb.port": str(addresses.mariadb_port),
    }
    feed = {
        **common,
        "postgres.user": "cdc_feed",
        "postgres.password": postgres["cdc_feed"],
        "mariadb.user": "cdc_feed",
        "mariadb.password": mariadb["cdc_feed"],
        "placeholder": placeholder(folder),
        **(more_feed or {}),
    }
    pipeline = {
        **common,
        "postgres.user": "cdc_pipeline",
        "postgres.password": postgres["cdc_pipeline"],
        "mariadb.user": "cdc_pipeline",
        "mariadb.password": mariadb["cdc_pipeline"],
        "sink.user": "shop_sink",
        "postgres.sink.password": postgres["shop_sink"],
        "postgres.sink.url": f"jdbc:postgresql://{addresses.postgres_host}:{addresses.postgres_port}/{DATABASE}",
        "mariadb.sink.password": mariadb["shop_sink"],
        "mariadb.sink.url": f"jdbc:mariadb://{addresses.mariadb_host}:{addresses.mariadb_port}/{DATABASE}",
    }
    for name, fields in (("feed", feed), ("pipeline", pipeline)):
        write_private(folder / f"{name}.properties", "".join(f"{key}={value}\n" for key, value in fields.items()))
