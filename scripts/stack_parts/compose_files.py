"""What docker-compose.yml mounts, from the same code that configures the local processes: two ways to run, one truth.

Written to `.stack/compose`: settings of broker and workers, the workers' secrets, the SQL of the databases with its
passwords filled in, and a `stack.json`, so that `scripts/stack connectors apply --name compose` works from the host.
"""

from collections.abc import Mapping
from pathlib import Path

from stack_parts import database_part, jvm_parts
from stack_parts.layout import DEFAULT_BASE_PORT, Layout, Ports
from stack_parts.secret_files import Addresses, passwords, placeholder, write_private, write_worker_files

NAME = "compose"
BROKER = "kafka:9092"
WORKER_PORT = 8083
JARS = "/jars"
ANY_HOST = "%"


def layout() -> Layout:
    """The compose stack seen from the host: the same ports as a local stack of the default base."""
    return Layout(NAME, Ports(DEFAULT_BASE_PORT))


def kafka_settings(ports: Ports) -> dict[str, str]:
    """The broker's settings, with one listener for the other containers and one for the host."""
    return {
        **jvm_parts.KAFKA,
        "inter.broker.listener.name": "INSIDE",
        "listener.security.protocol.map": "INSIDE:PLAINTEXT,HOST:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.quorum.voters": "1@localhost:9093",
        "listeners": "INSIDE://:9092,HOST://:19092,CONTROLLER://localhost:9093",
        "advertised.listeners": f"INSIDE://{BROKER},HOST://127.0.0.1:{ports.kafka}",
        "log.dirs": "/data",
    }


def worker_settings(worker: str) -> dict[str, str]:
    """A Connect worker's settings."""
    return {
        **jvm_parts.worker_settings(worker),
        "bootstrap.servers": BROKER,
        "listeners": f"http://:{WORKER_PORT}",
        "rest.advertised.host.name": f"connect-{worker}",
        "plugin.path": f"{JARS}/plugins",
    }


def write(to: Layout) -> Path:
    """Write everything; passwords are made once and stay."""
    for folder in (to.folder, to.settings, to.secrets):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    postgres, mariadb = passwords(to.secrets, "postgres"), passwords(to.secrets, "mariadb")
    placeholder(to.secrets)
    addresses = Addresses(
        bootstrap=BROKER,
        registry="http://registry:8080",
        postgres_host="postgres",
        postgres_port=5432,
        mariadb_host="mariadb",
        mariadb_port=3306,
    )
    write_worker_files(to.secrets, addresses, more_feed=optional_stores(mariadb))
    _settings(to.settings / "kafka.properties", kafka_settings(to.ports))
    for worker in jvm_parts.WORKERS:
        _settings(to.settings / f"connect-{worker}.properties", worker_settings(worker))
    (to.settings / "log4j2.properties").write_text(jvm_parts.LOG_SETTINGS, encoding="ascii")
    write_private(to.settings / "postgres.sql", database_part.filled("postgres.sql", postgres))
    for database in ("mariadb", "mysql"):
        script = database_part.filled(f"{database}.sql", {"host": ANY_HOST, **mariadb})
        write_private(to.settings / f"{database}.sql", script)
    for folder in (to.settings, to.secrets):
        for file in folder.rglob("*"):
            # The containers' users are not ours; on the host the folders, mode 700, keep others out.
            file.chmod(0o700 if file.is_dir() else 0o644)
    return to.folder


def optional_stores(mariadb: Mapping[str, str]) -> dict[str, str]:
    """Where the stores of the optional profiles are; the MySQL container has the MariaDB one's roles."""
    return {
        "mysql.host": "mysql",
        "mysql.port": "3306",
        "mysql.user": "cdc_feed",
        "mysql.password": mariadb["cdc_feed"],
        "mongodb.url": "mongodb://mongodb:27017/?replicaSet=rs0",
    }


def _settings(path: Path, settings: Mapping[str, str]) -> None:
    path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), encoding="ascii")
