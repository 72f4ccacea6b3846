"""The connector files themselves: what makes a captured change true is there, and no secret is."""

import re
from pathlib import Path

import pytest
from stack_parts import connectors
from stack_parts.compose_files import optional_stores
from stack_parts.connectors import Connector
from stack_parts.failure import StackError
from stack_parts.jvm_parts import WORKERS
from stack_parts.secret_files import Addresses, passwords, write_worker_files

ALL = [connectors.load(name) for name in connectors.names()]
FEED = [connector for connector in ALL if connector.worker == "feed"]
RELATIONAL_FEED = [connector for connector in FEED if connector.name != "mongodb-source"]
SOURCES = [connector for connector in ALL if connector.prefix is not None]
SINKS = [connector for connector in ALL if connector.prefix is None]
PLACE = re.compile(r"\$\{file:secrets/(feed|pipeline)\.properties:([a-z.]+)\}")


def ids(chosen: list[Connector]) -> list[str]:
    """The connectors' names, for the names of the tests."""
    return [connector.name for connector in chosen]


each = pytest.mark.parametrize("connector", ALL, ids=ids(ALL))
each_feed = pytest.mark.parametrize("connector", FEED, ids=ids(FEED))
each_relational_feed = pytest.mark.parametrize("connector", RELATIONAL_FEED, ids=ids(RELATIONAL_FEED))
each_source = pytest.mark.parametrize("connector", SOURCES, ids=ids(SOURCES))
each_sink = pytest.mark.parametrize("connector", SINKS, ids=ids(SINKS))


@pytest.fixture(scope="module")
def worker_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """The keys and values that each worker's properties file would have."""
    folder = tmp_path_factory.mktemp("secrets")
    addresses = Addresses("kafka:9092", "http://registry", "pg", 5432, "my", 3306)
    write_worker_files(folder, addresses, more_feed=optional_stores(passwords(folder, "mariadb")))
    return {
        worker: dict(line.split("=", 1) for line in (folder / f"{worker}.properties").read_text().splitlines())
        for worker in ("feed", "pipeline")
    }


@each
def test_no_address_and_no_secret_stands_in_a_connector(connector: Connector) -> None:
    """Host, port, user, password and URL come from the worker's own file, so that one JSON serves every place."""
    for key, value in connector.config.items():
        if re.search(r"password|user(name)?$|hostname|\.port$|\.url$|connection\.string|bootstrap\.servers", key):
            assert PLACE.fullmatch(value), f"{key} holds {value}"


@each
def test_every_placeholder_is_in_the_workers_own_file(
    connector: Connector, worker_files: dict[str, dict[str, str]]
) -> None:
    """A connector asks only for what its own worker's file has: the feed worker never sees the pipeline's roles."""
    for value in connector.config.values():
        for file, key in PLACE.findall(value):
            assert file == connector.worker
            assert key in worker_files[file]


@each_feed
def test_a_feed_loses_no_change_and_no_transaction(connector: Connector) -> None:
    """Truncates pass, deliveries are exactly once, and failures of a server are waited out."""
    expected = {
        "skipped.operations": "none",
        "provide.transaction.metadata": "true",
        "exactly.once.support": "required",
        "transaction.boundary": "poll",
        "tombstones.on.delete": "true",
        # What MongoDB's reads of an initial snapshot tell of their place in the log is nothing.
        "snapshot.mode": "no_data" if connector.name == "mongodb-source" else "initial",
        "errors.max.retries": "-1",
        "retriable.restart.connector.wait.ms": "1000",
        "signal.data.collection": "driftline.driftline_signal",
    }
    assert expected.items() <= connector.config.items()
    assert int(connector.config["poll.interval.ms"]) <= 100
    assert "transforms" not in connector.config
    if connector.config["connector.class"].endswith("PostgresConnector"):
        assert connector.config["offset.mismatch.strategy"] == "trust_offset"


@each_relational_feed
def test_a_feed_alters_no_value(connector: Connector) -> None:
    """Decimals, times, binaries and NULLs arrive as they are stored; a value left out is told by a text of our own."""
    expected = {
        "decimal.handling.mode": "string",
        "time.precision.mode": "adaptive_time_microseconds",
        "binary.handling.mode": "bytes",
        "event.converting.failure.handling.mode": "fail",
        "unavailable.value.placeholder": "${file:secrets/feed.properties:placeholder}",
        "value.converter.replace.null.with.default": "false",
        "value.converter.schemas.enable": "false",
    }
    assert expected.items() <= connector.config.items()
    if connector.config["connector.class"].endswith("PostgresConnector"):
        assert connector.config["interval.handling.mode"] == "string"
        assert connector.config["publication.autocreate.mode"] == "disabled"
    else:
        assert connector.config["bigint.unsigned.handling.mode"] == "precise"
        assert connector.config["enable.time.adjuster"] == "false"


@each_feed
def test_own_tables_are_captured_and_before_images_are_not(connector: Connector) -> None:
    """Beacon, signal, ledger and fence are in the feed, in single partitions; the ledger's before-image never is."""
    topics = connectors.topic_names(connector, connectors.OWN_TABLES)
    for table in connectors.OWN_TABLES:
        assert f"{connector.prefix}.{table}" in topics
    for topic in topics:
        assert connectors.partitions(connector.config, topic) == 1, topic
    excluded = connector.config.get("column.exclude.list") or connector.config["field.exclude.list"]
    assert re.fullmatch(excluded, "driftline.driftline_ledger.before_image")
    databases = connector.config.get("database.include.list")
    assert databases is None or "driftline" in databases.split(",")


@each_source
def test_sources_share_no_prefix_and_no_place_in_a_log(connector: Connector) -> None:
    """Two connectors with one prefix, slot, server id or history topic would destroy each other's work."""
    for key in ("topic.prefix", "slot.name", "database.server.id", "schema.history.internal.kafka.topic"):
        mine = connector.config.get(key)
        others = [other.config.get(key) for other in SOURCES if other is not connector]
        assert mine is None or mine not in others


@each_sink
def test_a_sink_overrides_only_what_its_worker_allows(connector: Connector) -> None:
    """The pipeline's worker has an allow-list of client settings; the feed's worker allows none."""
    allowed = WORKERS["pipeline"]["connector.client.config.override.allowlist"].split(",")
    asked = [key.split(".", 2)[2] for key in connector.config if key.startswith("consumer.override.")]
    assert asked
    assert set(asked) <= set(allowed)
    assert WORKERS["feed"]["connector.client.config.override.policy"] == "None"


@each_sink
def test_every_topic_of_a_sink_has_a_source(connector: Connector) -> None:
    """A sink reads topics that a pipeline source of the other database writes."""
    prefixes = {source.prefix for source in SOURCES if source.worker == "pipeline"}
    for topic in connector.config["topics"].split(","):
        assert topic.split(".")[0] in prefixes


def test_the_pipeline_is_left_as_ordinary_as_it_is() -> None:
    """No re-selector and no own placeholder: what such a pipeline does wrong by itself must stay to be found."""
    source = connectors.load("pipeline-postgres-source")
    assert "post.processors" not in source.config
    assert "unavailable.value.placeholder" not in source.config
    assert source.config["value.converter.schemas.enable"] == "true"


def test_topics_of_tables_are_named_before_a_connector_starts() -> None:
    """A table of the shop in either database has its topic on both sides, since a sink makes copies by itself."""
    tables = {"postgres": ["public.orders", "stack.marker"], "mariadb": ["shop.invoices", "mysql.user"]}
    postgres, mariadb = connectors.load("postgres-source"), connectors.load("mariadb-source")
    assert set(connectors.topic_names(postgres, connectors.candidates("postgres", tables))) == {
        "pg", "pg.transaction", "__debezium-heartbeat.pg", "pg.stack.marker", "pg.public.orders", "pg.public.invoices",
    }  # fmt: skip
    assert "my.shop.orders" in connectors.topic_names(mariadb, connectors.candidates("mariadb", tables))
    assert connectors.partitions(postgres.config, "pg.public.orders") == 3


def test_an_unknown_connector_is_refused_with_the_known_names() -> None:
    """The error lists what may be applied."""
    with pytest.raises(StackError) as refusal:
        connectors.load("oracle-source")
    assert "postgres-source" in refusal.value.hint


def test_a_connector_file_that_is_no_object_of_strings_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connect would turn numbers into text by its own taste, and then every apply would see a change."""
    (tmp_path / "odd.json").write_text('{"tasks.max": 1}', encoding="utf-8")
    monkeypatch.setattr(connectors, "FOLDER", tmp_path)
    with pytest.raises(StackError, match=r"odd\.json must be one object of strings"):
        connectors.load("odd")


@pytest.mark.parametrize(
    ("value", "counts"),
    [
        (b'{"op":"u","after":{"id":1,"token":"t1"}}', True),
        (b'{"schema":{},"payload":{"op":"c","after":{"token":"t1"}}}', True),
        (b'{"op":"r","after":{"id":1,"token":"t1"}}', False),
        (b'{"op":"u","before":{"token":"t1"},"after":{"token":"t2"}}', False),
        (b'{"op":"d","before":{"token":"t1"},"after":null}', False),
        (b"\x00\x00\x00\x00\x07\x02t1", True),
        (None, False),
    ],
)
def test_only_a_streamed_change_of_the_marker_proves_readiness(value: bytes | None, *, counts: bool) -> None:
    """A snapshot's read of the marker says nothing of the stream."""
    assert connectors.is_live_change(value, "t1") is counts
