"""The registry client on a real registry: our schemas, their ids, and what it refuses."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import closing

import pytest

from app.adapters.registry import RegisteredSchemas, Registry
from app.codec.records import FIXED_IDS, RecordCodec
from app.core.command import Approval
from app.core.errors import ContractViolation, Undecodable
from tests.integration.running_stack import part_killed, running_stack

pytestmark = pytest.mark.stack


@pytest.fixture
def registry() -> Iterator[Registry]:
    """Yield a client of the stack's registry."""
    client = Registry(running_stack("registry")["registry"]["url"])
    yield client
    client.close()


def test_all_schemas_register_and_a_second_process_gets_the_same_ids(registry: Registry) -> None:
    """What one process writes, another reads."""
    deployment = f"trial-{secrets.token_hex(4)}"
    first, second = RegisteredSchemas(registry, deployment), RegisteredSchemas(registry, deployment)
    assert {name: first.id_of(name) for name in FIXED_IDS} == {name: second.id_of(name) for name in FIXED_IDS}
    said = Approval(b"b" * 32, (b"m" * 48,), approved=True, said_at_ms=1, expires_at_ms=2)
    written = RecordCodec(deployment, first).approval(said)
    assert RecordCodec(deployment, second).read_approval(written) == said


def test_a_schema_that_could_not_read_older_records_is_refused(registry: Registry) -> None:
    """By the registry itself, since every subject of ours is guarded."""
    deployment = f"trial-{secrets.token_hex(4)}"
    RegisteredSchemas(registry, deployment).id_of("outcome")
    broken = {
        "type": "record",
        "name": "CommandOutcome",
        "namespace": "io.driftline",
        "fields": [{"name": "new_and_without_default", "type": "int"}],
    }
    with pytest.raises(ContractViolation, match="add fields with defaults"):
        registry.register(f"{deployment}.outcomes.v1-value", json.dumps(broken))


def test_an_id_that_nobody_gave_is_undecodable(registry: Registry) -> None:
    """The record goes to quarantine."""
    with pytest.raises(Undecodable, match="knows no schema"):
        registry.writer_schema(2_000_000_000)


def test_what_the_registry_has_answered_for_outlives_its_death(registry: Registry) -> None:
    """A schema that it forgot would put every record under it into quarantine."""
    word = secrets.token_hex(4)
    schema = {"type": "record", "name": f"Kept{word}", "fields": []}
    schema_id = registry.register(f"kept-{word}-value", json.dumps(schema))
    with part_killed("registry"):
        pass
    with closing(Registry(running_stack("registry")["registry"]["url"])) as again:
        assert again.schema(schema_id) == schema
