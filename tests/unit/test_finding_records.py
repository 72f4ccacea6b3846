"""What the worker publishes of a finding: where it came by, and its key never in plain."""

from __future__ import annotations

from app.adapters.seal import DeploymentSeals, Seal
from app.bootstrap.findings import FindingRecords
from app.codec.records import FixedSchemas, RecordCodec
from app.core.store import Converter, StoreKind
from app.settings import StoreSettings
from tests.unit.core.story import Story

KEY = bytes(range(32))


def store(name: str, connector: str | None) -> StoreSettings:
    """Return a store whose connector is named, or not."""
    return StoreSettings(
        name=name,
        kind=StoreKind.POSTGRES,
        topic_prefix=name,
        converter=Converter.JSON,
        host="db",
        port=1,
        database="shop",
        connector=connector,
    )


def test_a_finding_names_the_task_that_brought_the_replica_s_change() -> None:
    """The replica's, since its change is the one that was judged; nothing where the connector is not named."""
    story = Story()
    story.row("A", "one", key="only there", snapshot=True)
    story.until(500, 4_000)
    codec, seals = RecordCodec("shop", FixedSchemas()), DeploymentSeals(Seal([KEY]), Seal([KEY]))
    for connector, task in (("r-source", "r-source/0"), (None, "")):
        stores = [store("A", "a-source"), store("R", connector)]
        value = FindingRecords([story.contract], stores, codec, seals, KEY).record(story.findings[0])
        read = codec.read_finding(value)
        assert read.connector_task == task
        assert seals.open_key("t", read.sealed_key) == b"only there"
        assert b"only there" not in value
