"""`driftline.yaml`: every mistake at once with its place, the environment on top, and no secret in it."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from app.core.errors import ContractViolation, Unready
from app.core.guard import Limits
from app.core.store import Converter, StoreKind
from app.declared.fault import Refused
from app.settings import KafkaSecurity, SaslMechanism, SecurityProtocol, Settings, load_settings

GOOD = """\
deployment: demo
bootstrap: 127.0.0.1:29092
keys_dir: keys
state_dir: /var/lib/driftline
contracts_dir: contracts
placeholder_file: keys/placeholder
stores:
  pg:
    kind: postgres
    topic_prefix: pg
    converter: json
    host: 127.0.0.1
    port: 25432
    database: shop
    roles:
      read: {user: reader, password_file: keys/pg-read}
  my: {kind: mariadb, topic_prefix: my, converter: json_schema, host: db, port: 3306, database: shop}
worker:
  http_port: 9000
"""


def load(tmp_path: Path, text: str, environment: dict[str, str] | None = None) -> Settings:
    """Write the text as a file and load it."""
    path = tmp_path / "driftline.yaml"
    path.write_text(text)
    return load_settings(path, environment or {})


def faults_of(tmp_path: Path, text: str, environment: dict[str, str] | None = None) -> list[str]:
    """Return what a text is refused for, with the file's name alone."""
    with pytest.raises(Refused) as refused:
        load(tmp_path, text, environment)
    return [str(fault).replace(f"{tmp_path}/", "") for fault in refused.value.faults]


def test_how_much_an_applier_may_write_is_set(tmp_path: Path) -> None:
    """Each limit arrives where the guard and the pace read it; what is not set stays careful."""
    assert load(tmp_path, GOOD).applier.limits == Limits()
    chosen = {"rows_per_transaction": 7} | {
        member.name: 1_001 + number
        for number, member in enumerate(fields(Limits))
        if member.name != "rows_per_transaction"
    }
    asked = {f"DRIFTLINE_APPLIER_{name.upper()}": str(value) for name, value in chosen.items()}
    asked["DRIFTLINE_APPLIER_WRITES_PER_S"] = asked.pop("DRIFTLINE_APPLIER_WRITES_PER_SECOND")
    assert load(tmp_path, GOOD, asked).applier.limits == Limits(**chosen)


def test_settings_become_values_and_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    """What the file says arrives; what it does not say has its default."""
    settings = load(tmp_path, GOOD)
    assert settings.deployment == "demo"
    assert settings.keys_dir == tmp_path / "keys"
    assert settings.state_dir == Path("/var/lib/driftline")
    assert settings.stores["pg"].kind is StoreKind.POSTGRES
    assert settings.stores["my"].converter is Converter.JSON_SCHEMA
    assert (settings.stores["my"].name, settings.stores["my"].schema) == ("my", "driftline")
    assert settings.stores["pg"].role("read").password_file == tmp_path / "keys" / "pg-read"
    assert (settings.partitions, settings.stall_after_ms, settings.beacon_interval_ms) == (4, 30_000, 500)
    assert settings.worker.http_port == 9000
    assert settings.kafka == {"security.protocol": "plaintext"}


@pytest.mark.parametrize(
    ("right", "wrong", "line", "what", "hint"),
    [
        ("deployment: demo", "deployment: Demo", 1, '"Demo" has not the right form', "lower-case letters"),
        ("deployment: demo\n", "", 1, '"deployment" is missing', "the first part of every topic"),
        ("bootstrap: 127.0.0.1:29092", "bootstrap: localhost", 2, "has not the right form", "host:port"),
        ("keys_dir: keys", "keys_dri: keys", 3, 'unknown key "keys_dri"', 'did you mean "keys_dir"?'),
        ("keys_dir: keys", "keys_dir: [keys]", 3, "expected a path, found a list", "digest.key"),
        ("kind: postgres", "kind: postgresql", 9, '"postgresql" is unknown', 'did you mean "postgres"?'),
        ("converter: json\n", "converter: jason\n", 11, '"jason" is unknown', 'did you mean "json"?'),
        ("converter: json\n", "converter: avro\n", 11, "converter avro needs a schema registry", "add registry_url"),
        ("port: 25432", "port: 99999", 13, "expected int <= 65535", "a TCP port"),
        ("port: 25432", 'port: "25432"', 13, "expected int, got str", "a TCP port"),
        ("password_file: keys/pg-read", "password: hunter2", 16, "a secret may not be written here", "password_file"),
        ("read: {user", "raed: {user", 16, 'unknown role "raed"', 'did you mean "read"?'),
        ("topic_prefix: my", "topic_prefix: pg", 17, 'belongs to store "pg" already', "its own prefix"),
        ("  my: {", "  My: {", 17, '"My" cannot name a store', "lower-case"),
        ("  http_port: 9000", "  http_port: 8472", 0, "worker and applier would serve HTTP on the same port", "own"),
        ("worker:\n", "stall_after_ms: 1000\nworker:\n", 18, "healthy store would look stalled", "4 x"),
        (
            "worker:\n",
            "kafka_security: {protocol: sasl_ssl}\nworker:\n",
            18,
            'needs "sasl_user"',
            "add kafka_security.",
        ),
        ("worker:\n", "connect: {url: localhost}\nworker:\n", 18, "has not the right form", "http://host:port"),
        ("worker:\n", "deployment: x\nworker:\n", 18, '"deployment" is said twice, first in line 1', "keep one"),
        ("worker:\n", "a: &x 1\nb: *x\nworker:\n", 19, "an alias (*name) is not allowed", "write the value out"),
        ("worker:\n", "worker: !!python/object:x {}\nw:\n", 18, "a tag", "write a plain value"),
    ],
)
def test_a_mistake_is_told_with_file_line_and_what_to_do(
    tmp_path: Path, right: str, wrong: str, line: int, what: str, hint: str
) -> None:
    """One mistake planted in good settings is found where it stands."""
    assert right in GOOD
    found = faults_of(tmp_path, GOOD.replace(right, wrong, 1))
    matching = [fault for fault in found if what in fault and hint in fault]
    assert matching, found
    assert re.match(rf"driftline\.yaml:{line or '[0-9]+'}:\d+: ", matching[0]), found


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """Three mistakes far apart give three faults."""
    text = GOOD.replace("demo", "Demo").replace("kind: mariadb", "kind: maria").replace("9000", "x")
    assert len(faults_of(tmp_path, text)) == 3


def test_no_message_repeats_a_secret(tmp_path: Path) -> None:
    """A password that was written into the file does not go on to a log."""
    assert "hunter2" not in "".join(
        faults_of(tmp_path, GOOD.replace("password_file: keys/pg-read", "password: hunter2"))
    )


class TestEnvironment:
    """`DRIFTLINE_<SECTION>_<KEY>` stands above the file."""

    def test_each_kind_of_key_can_be_overridden(self, tmp_path: Path) -> None:
        """Top-level keys, sections, stores and roles; also keys that the file does not have."""
        settings = load(
            tmp_path,
            GOOD,
            {
                "DRIFTLINE_BOOTSTRAP": "k:1",
                "DRIFTLINE_WORKER_HTTP_PORT": "9001",
                "DRIFTLINE_APPLIER_INSTANCE_ID": "42",
                "DRIFTLINE_STORES_PG_HOST": "10.0.0.1",
                "DRIFTLINE_STORES_PG_ROLES_READ_USER": "other",
                "DRIFTLINE_KAFKA_SECURITY_PROTOCOL": "ssl",
                "DRIFTLINE_CONFIG": "x",
                "UNRELATED": "x",
            },
        )
        assert (settings.bootstrap, settings.worker.http_port) == ("k:1", 9001)
        assert settings.applier.instance_id == "42"
        assert settings.stores["pg"].host == "10.0.0.1"
        assert settings.stores["pg"].role("read").user == "other"
        assert settings.kafka == {"security.protocol": "ssl"}

    def test_a_wrong_value_names_its_variable(self, tmp_path: Path) -> None:
        """The place of the fault is the variable, not a line of the file."""
        (fault,) = faults_of(tmp_path, GOOD, {"DRIFTLINE_PARTITIONS": "many"})
        assert fault.startswith("environment variable DRIFTLINE_PARTITIONS: expected int, got str")

    def test_a_variable_with_a_typing_error_is_refused(self, tmp_path: Path) -> None:
        """An override that overrides nothing would be silent."""
        (fault,) = faults_of(tmp_path, GOOD, {"DRIFTLINE_STORES_PG_HOTS": "x"})
        assert 'did you mean "DRIFTLINE_STORES_PG_HOST"?' in fault


class TestSecrets:
    """Secrets are read from files when they are needed."""

    def test_a_rotated_password_is_seen(self, tmp_path: Path) -> None:
        """The file is read again each time, without the line's end."""
        settings = load(tmp_path, GOOD)
        path = tmp_path / "keys" / "pg-read"
        path.parent.mkdir()
        path.write_text("first\n")
        assert settings.stores["pg"].role("read").password() == "first"
        path.write_text("second\r\n")
        assert settings.stores["pg"].role("read").password() == "second"
        assert "second" not in repr(settings)

    def test_a_missing_file_says_what_it_is_for(self, tmp_path: Path) -> None:
        """A password that cannot be read names its user and path."""
        with pytest.raises(Unready, match=r"pg-read: the password of reader cannot be read"):
            load(tmp_path, GOOD).stores["pg"].role("read").password()

    def test_a_missing_role_says_which_key_to_add(self, tmp_path: Path) -> None:
        """A store without the role that a command needs."""
        with pytest.raises(ContractViolation, match=r"add stores\.my\.roles\.apply"):
            load(tmp_path, GOOD).stores["my"].role("apply")

    def test_kafka_clients_get_tls_and_sasl(self, tmp_path: Path) -> None:
        """Every property of librdkafka comes from the settings and the files that they name."""
        (tmp_path / "sasl").write_text("s3cret\n")
        security = KafkaSecurity(
            protocol=SecurityProtocol.SASL_SSL,
            ca_file=Path("/ca.pem"),
            sasl_mechanism=SaslMechanism.SCRAM_SHA_512,
            sasl_user="driftline",
            sasl_password_file=tmp_path / "sasl",
        )
        assert security.client_properties() == {
            "security.protocol": "sasl_ssl",
            "ssl.ca.location": "/ca.pem",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "driftline",
            "sasl.password": "s3cret",
        }


def test_a_missing_settings_file_is_told(tmp_path: Path) -> None:
    """No traceback for a wrong path."""
    with pytest.raises(Refused, match="cannot be read: No such file"):
        load_settings(tmp_path / "absent.yaml", {})


@pytest.mark.parametrize(
    ("kind", "connector", "task"),
    [("postgres", "pg-source", "pg-source/0"), ("mongodb", "docs-source", "docs-source"), ("mariadb", None, "")],
)
def test_a_store_names_the_task_that_brings_its_changes(
    tmp_path: Path, kind: str, connector: str | None, task: str
) -> None:
    """The number only where there can be one task; nothing where the connector is not named."""
    named = f", connector: {connector}" if connector else ""
    text = GOOD.replace("{kind: mariadb,", f"{{kind: {kind}{named},")
    assert load(tmp_path, text).stores["my"].connector_task == task


def test_standbys_are_named_where_the_store_does_not_tell_of_them(tmp_path: Path) -> None:
    """PostgreSQL does."""
    named = "standbys: [{host: replica, port: 3306}],"
    store = load(tmp_path, GOOD.replace("{kind: mariadb,", f"{{kind: mariadb, {named}")).stores["my"]
    assert [(each.host, each.port) for each in store.standbys] == [("replica", 3306)]
    [fault] = faults_of(tmp_path, GOOD.replace("{kind: mariadb,", f"{{kind: postgres, {named}"))
    assert "standbys of a store of kind postgres are not named" in fault


def test_a_shard_may_have_a_fence_token_of_its_own(tmp_path: Path) -> None:
    """By the name that people see, added to the store's; what names no shard of the store is told."""
    text = GOOD.replace("{kind: mariadb,", "{kind: mariadb, fence_token: 2, shard_fence_tokens: {%s: 3},")
    fences = load(tmp_path, text % "orders/my/1").fences
    assert (fences.of("orders", "my", 1), fences.of("orders", "my", 0), fences.of("orders", "pg", 1)) == (5, 2, 0)
    for wrong in ("orders", "orders/pg/1", "orders/my/99999", "orders/my/x", "orders/my/01", "/my/1"):
        [fault] = faults_of(tmp_path, text % wrong)
        assert "names no shard of this store" in fault
    [fault] = faults_of(tmp_path, text % f"{'o' * 60}/my/1")
    assert "too long" in fault
    [fault] = faults_of(tmp_path, (text % "orders/my/1").replace(": 3}", ": 0}"))
    assert "expected int >= 1" in fault


def test_the_history_stands_beside_the_state_unless_it_is_told_where(tmp_path: Path) -> None:
    """A file, or a PostgreSQL schema of its own whose name can be no SQL."""
    assert load(tmp_path, GOOD).history_file == Path("/var/lib/driftline/history.sqlite")
    assert load(tmp_path, GOOD + "history: {file: h.sqlite}\n").history_file == tmp_path / "h.sqlite"
    told = "history: {postgres: {host: db, port: 5432, database: audit, login: {user: h}, schema: %s}}\n"
    database = load(tmp_path, GOOD + told % "own").history.postgres
    assert database is not None
    assert (database.schema, database.login.user) == ("own", "h")
    [fault] = faults_of(tmp_path, GOOD + told % "'a\"; DROP'")
    assert "schema" in fault
