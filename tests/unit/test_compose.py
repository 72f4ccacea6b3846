"""docker-compose.yml: sound in itself, and the same stack as the local processes."""

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from stack_parts import compose_files, jvm_parts, mariadb, postgres
from stack_parts.layout import DEFAULT_BASE_PORT, PROJECT, Layout, Ports
from stack_parts.tools import POSTGRES_BINARIES

PORTS = Ports(DEFAULT_BASE_PORT)
# A container's disk is a volume that outlives it, so it keeps what the local stack gives up for speed.
LOCAL_ONLY = {"fsync", "innodb-flush-log-at-trx-commit"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The file as YAML reads it, anchors merged."""
    loaded: dict[str, Any] = YAML(typ="safe").load((PROJECT / "docker-compose.yml").read_text(encoding="utf-8"))
    return loaded


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that `compose-files` would make, in a place of its own."""
    monkeypatch.setattr(Layout, "folder", property(lambda _self: tmp_path / "compose"))
    return compose_files.write(compose_files.layout())


def test_every_part_of_the_local_stack_has_a_container(compose: dict[str, Any]) -> None:
    """Same parts; MySQL and MongoDB only on request."""
    services = compose["services"]
    local = {"kafka", "connect-feed", "connect-pipeline", "registry", "postgres", "mariadb"}
    assert {name for name, service in services.items() if not service.get("profiles")} == {"jars", *local}
    assert services["mysql"]["profiles"] == ["mysql"]
    assert services["mongodb"]["profiles"] == ["mongodb"]


def test_the_file_uses_only_what_compose_knows(compose: dict[str, Any]) -> None:
    """Keys of the Compose specification, references to what exists, images with a version."""
    assert {key for key in compose if not key.startswith("x-")} == {"name", "services", "secrets", "volumes"}
    known = {
        "image", "init", "restart", "depends_on", "working_dir", "volumes", "command", "ports", "healthcheck",
        "environment", "secrets", "profiles",
    }  # fmt: skip
    for name, service in compose["services"].items():
        assert set(service) <= known, name
        assert re.fullmatch(r"[a-z-]+:[0-9][\w.-]*", service["image"]), name
        for needed, how in service.get("depends_on", {}).items():
            assert needed in compose["services"]
            assert how["condition"] in {"service_healthy", "service_completed_successfully"}
        for secret in service.get("secrets", []):
            assert secret in compose["secrets"]
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source.startswith("./") or source in compose["volumes"], f"{name} mounts {volume}"


def test_what_others_wait_for_can_become_healthy(compose: dict[str, Any]) -> None:
    """`docker compose up --wait` needs a health check for every server."""
    for name, service in compose["services"].items():
        assert name == "jars" or "healthcheck" in service, name


def test_only_loopback_is_published_on_the_same_ports_as_locally(compose: dict[str, Any]) -> None:
    """Nothing is open to the network, and clients need no other addresses."""
    published = {}
    for name, service in compose["services"].items():
        for port in service.get("ports", []):
            host, outside, _inside = port.split(":")
            assert host == "127.0.0.1", name
            published[name] = int(outside)
    local = {
        "kafka": PORTS.kafka,
        "connect-feed": PORTS.feed,
        "connect-pipeline": PORTS.pipeline,
        "registry": PORTS.registry,
        "postgres": PORTS.postgres,
        "mariadb": PORTS.mariadb,
        "mongodb": PORTS.mongodb,
    }
    assert local.items() <= published.items()
    assert len(set(published.values())) == len(published)


def test_no_password_stands_in_the_file(compose: dict[str, Any]) -> None:
    """Passwords come as files."""
    for name, service in compose["services"].items():
        for variable in service.get("environment", {}):
            assert variable.endswith("_FILE"), f"{name} sets {variable}"


def test_databases_run_with_the_local_settings(compose: dict[str, Any]) -> None:
    """Each setting of the local servers is given to the containers, but for those that trade safety for speed."""
    services = compose["services"]
    given = {word for word in services["postgres"]["command"] if "=" in word}
    assert given == {f"{name}={value}" for name, value in postgres.SETTINGS.items() if name not in LOCAL_ONLY}
    given = set(services["mariadb"]["command"])
    assert given == {f"--{name}={value}" for name, value in mariadb.SETTINGS.items() if name not in LOCAL_ONLY}


def test_versions_are_those_of_the_local_stack(compose: dict[str, Any]) -> None:
    """JVM parts come from the project's pom in both; the rest has the versions that the local stack asks for."""
    services = compose["services"]
    assert any("scripts/pom.xml" in volume for volume in services["jars"]["volumes"])
    assert services["postgres"]["image"] == "postgres:15"
    assert "/15/" in str(POSTGRES_BINARIES)
    assert services["mariadb"]["image"] == "mariadb:10.11"
    for name in ("kafka", "connect-feed", "connect-pipeline", "registry"):
        assert services[name]["image"] == "eclipse-temurin:17-jre"


def test_the_broker_is_formatted_as_locally(compose: dict[str, Any]) -> None:
    """By the same name, and with the transactions that lose no record."""
    command = compose["services"]["kafka"]["command"][-1]
    assert f"-t {jvm_parts.CLUSTER_ID} " in command
    assert f"{' '.join(jvm_parts.FEATURES)} " in command


def test_the_registry_keeps_what_it_answers_for_as_locally(compose: dict[str, Any]) -> None:
    """Quoted, for a shell reads the line."""
    command = compose["services"]["registry"]["command"][-1]
    assert f"'-Dapicurio.datasource.url=jdbc:h2:file:/data/registry;{jvm_parts.H2_OPTIONS}' " in command


def test_every_mounted_file_is_written(compose: dict[str, Any], written: Path) -> None:
    """A bind mount of a file that is not there would become an empty folder in the container."""
    mounted = [volume for service in compose["services"].values() for volume in service.get("volumes", [])]
    sources = [volume.split(":")[0] for volume in mounted if volume.startswith("./")]
    sources += [secret["file"] for secret in compose["secrets"].values()]
    for source in sources:
        inside = source.removeprefix("./.stack/compose/")
        place = written / inside if inside != source else PROJECT / source
        assert place.is_file(), source
    assert written.stat().st_mode & 0o077 == 0


def test_workers_have_the_local_settings(written: Path) -> None:
    """The two ways to run a worker differ in addresses and folders, in nothing else."""
    for worker in jvm_parts.WORKERS:
        text = (written / "etc" / f"connect-{worker}.properties").read_text(encoding="ascii")
        settings = dict(line.split("=", 1) for line in text.splitlines())
        assert jvm_parts.worker_settings(worker).items() <= settings.items()
        assert set(settings) - set(jvm_parts.worker_settings(worker)) == {
            "bootstrap.servers", "listeners", "rest.advertised.host.name", "plugin.path",
        }  # fmt: skip


def test_secrets_in_use_are_filled_in(written: Path) -> None:
    """No place of a script stays open, and running it again changes no password."""
    first = {file.name: file.read_text(encoding="utf-8") for file in (written / "etc").glob("*.sql")}
    assert set(first) == {"postgres.sql", "mariadb.sql", "mysql.sql"}
    body = re.compile(r"\{\{\w+\}\}")
    for name, text in first.items():
        assert not body.search(text), name
    compose_files.write(compose_files.layout())
    assert first == {file.name: file.read_text(encoding="utf-8") for file in (written / "etc").glob("*.sql")}
