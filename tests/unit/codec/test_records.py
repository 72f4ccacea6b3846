"""Our records: what goes in comes out, keys never in plain, and yesterday's bytes are read today."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.codec import record_fields
from app.codec.control import decode_control
from app.codec.records import FIXED_IDS, FixedSchemas, RecordCodec, own_schema
from app.codec.rendering import wall_text
from app.codec.wire import frame
from app.core.command import Action, Approval, CommandOutcome, Outcome, RefusalReason, RepairCommand
from app.core.errors import Undecodable
from app.core.finding import DriftKind, Evidence, Finding, Shown, Stage, UnknownReason, Verdict
from app.core.published import Provenance, PublishedFinding, QuarantinedRecord
from app.core.rehearsal import UNCOUNTED, Rehearsal, Touched
from app.core.status import Coverage, StatusReport
from app.core.trust import SignerRole
from tests.property.applier_world import World
from tests.signatures import BELIEF, signed

SCHEMAS = Path(__file__).resolve().parents[3] / "schemas"
CODEC = RecordCodec("shop", FixedSchemas())

ids = st.binary(max_size=32)
words = st.text(max_size=30)
longs = st.integers(-(2**63), 2**63 - 1)
ints = st.integers(-(2**31), 2**31 - 1)
counts = st.integers(0, 2**63 - 1)
transactions = st.integers(0, 2**64)
shown = st.builds(Shown, ids, ids, st.none() | longs, st.none() | longs, words, ints, longs, transactions)
evidence = st.builds(
    Evidence, st.lists(shown, max_size=3).map(tuple), st.lists(shown, max_size=3).map(tuple), *[longs] * 5
)
findings = st.builds(
    Finding,
    finding_id=ids,
    stage=st.sampled_from(Stage),
    verdict=st.sampled_from(Verdict),
    kind=st.none() | st.sampled_from(DriftKind),
    checker=st.sampled_from(["key/1", "deep/2"]),
    contract_version=ints,
    entity=words,
    authority=words,
    replica=words,
    canonical_key=st.just(b""),
    shard=ints,
    observations_partition=ints,
    evidence=evidence,
    expected_digest=ids,
    intended_digest=ids,
    authority_position=ids,
    replica_position=ids,
    transaction=transactions,
    incident_id=ids,
    incident_rows=counts,
    command_id=ids,
    trace_id=ids,
    differing_columns=st.lists(words, max_size=3).map(tuple),
    reason=st.none() | st.sampled_from(UnknownReason),
)
published = st.builds(PublishedFinding, findings, ids, ids, words, st.just("shop"))
commands = st.builds(
    RepairCommand,
    command_id=ids,
    finding_id=ids,
    incident_id=ids,
    entity=words,
    contract_version=ints,
    authority=words,
    target=words,
    action=st.sampled_from(Action),
    kind=words,
    sealed_key=ids,
    key_hash=ids,
    partition=ints,
    expected_digest=ids,
    intended_digest=ids,
    authority_position=ids,
    needs_approval=st.booleans(),
    reason=words,
    expires_at_ms=longs,
    fence_token=longs,
    trace_id=ids,
    columns=st.lists(words, max_size=3).map(tuple),
    source_transaction=words,
    planned_at_ms=longs,
    undoes=ids,
    policy_id=ids,
    key_id=ids,
    signature=ids,
)
approvals = st.builds(
    Approval, ids, st.lists(ids, max_size=3).map(tuple), st.booleans(), longs, longs, words, st.booleans(), ids, ids
)
outcomes = st.builds(
    CommandOutcome,
    ids,
    ids,
    words,
    words,
    st.sampled_from(Outcome),
    st.none() | st.sampled_from(RefusalReason),
    longs,
    words,
    ints,
    ids,
    words,
)
statuses = st.builds(
    StatusReport,
    entity=words,
    store=words,
    is_authority=st.booleans(),
    partition=ints,
    coverage=st.sampled_from(Coverage),
    watermark_ms=st.none() | longs,
    verified_through_ms=st.none() | longs,
    newest_beacon_ms=st.none() | longs,
    reported_at_wall_ms=longs,
    waiting_keys=counts,
    open_drifts=st.dictionaries(st.sampled_from(DriftKind), counts),
    unknown_keys=st.dictionaries(st.sampled_from(UnknownReason), counts),
    records_read=counts,
    instance=words,
    contract_version=ints,
)
quarantined = st.builds(
    QuarantinedRecord,
    topic=words,
    partition=ints,
    offset=longs,
    stage=words,
    reason=words,
    what=words,
    key=st.none() | ids,
    value=st.none() | ids,
    at_wall_ms=longs,
    entity=words,
    store=words,
    is_cut=st.booleans(),
    trace_id=ids,
)


@given(published)
def test_a_finding_comes_out_as_it_went_in(one: PublishedFinding) -> None:
    """Evidence with its stays, brackets and transactions of any size."""
    assert CODEC.read_finding(CODEC.finding(one)) == one


@given(commands)
def test_a_command_comes_out_as_it_went_in(one: RepairCommand) -> None:
    """All that the applier checks by."""
    assert CODEC.read_command(CODEC.command(one)) == one


@given(approvals)
def test_an_approval_comes_out_as_it_went_in(one: Approval) -> None:
    """A person's word."""
    assert CODEC.read_approval(CODEC.approval(one)) == one


@given(outcomes)
def test_an_outcome_comes_out_as_it_went_in(one: CommandOutcome) -> None:
    """With its reason or without."""
    assert CODEC.read_outcome(CODEC.outcome(one)) == one


@given(statuses)
def test_a_status_comes_out_as_it_went_in(one: StatusReport) -> None:
    """Counts by kind and by reason."""
    assert CODEC.read_status(CODEC.status(one)) == one


@given(quarantined)
def test_a_quarantined_record_comes_out_as_it_went_in(one: QuarantinedRecord) -> None:
    """With its bytes."""
    assert CODEC.read_quarantine(CODEC.quarantine(one)) == one


@pytest.mark.parametrize(("key_bytes", "value_bytes"), [(None, 900_001), (70_000, None), (999_000, 999_000)])
def test_a_quarantined_record_is_cut_to_what_fits_and_says_so(key_bytes: int | None, value_bytes: int | None) -> None:
    """Whoever keeps one, of changes or of commands: what cannot be written would end them at each start anew."""
    key, value = (None if size is None else b"x" * size for size in (key_bytes, value_bytes))
    one = QuarantinedRecord("t" * 249, 0, 0, "decode", "shape", "w" * 200, key, value, 0, "e" * 63, "s" * 40)
    encoded = CODEC.quarantine(one)
    assert len(encoded) < 970_000
    assert CODEC.read_quarantine(encoded).is_cut
    assert not CODEC.read_quarantine(CODEC.quarantine(replace(one, key=b"k", value=b"v" * 900_000))).is_cut


@given(st.binary(max_size=400))
def test_hostile_bytes_are_undecodable_and_nothing_else(value: bytes) -> None:
    """Whatever stands on a topic, reading it raises `Undecodable` or returns a finding."""
    for read in (value, frame(FIXED_IDS["finding"], value)):
        with contextlib.suppress(Undecodable):
            assert isinstance(CODEC.read_finding(read), PublishedFinding)


def _finding() -> PublishedFinding:
    state = Shown(b"d" * 16, b"p" * 20, 1, 2, "pg.public.orders", 0, 7, 12)
    finding = Finding(
        finding_id=b"f" * 16,
        stage=Stage.CONFIRMED,
        verdict=Verdict.DRIFT,
        kind=DriftKind.STALE,
        checker="key/1",
        contract_version=1,
        entity="orders",
        authority="pg",
        replica="my",
        canonical_key=b"a key in plain",
        shard=3,
        observations_partition=3,
        evidence=Evidence((state,), (state,), 1, 2, 3, 4, 5),
        expected_digest=b"e" * 16,
        intended_digest=b"i" * 16,
        authority_position=b"",
        replica_position=b"",
        transaction=99,
        incident_id=b"",
        incident_rows=0,
        command_id=b"",
        trace_id=b"t" * 16,
    )
    return PublishedFinding(finding, b"sealed", b"h" * 16, "my-source/0")


def test_a_finding_of_the_version_before_is_read_without_a_reason() -> None:
    """Fields that were added since have a default."""
    before = fastavro.parse_schema(json.loads((SCHEMAS / "previous" / "finding.avsc").read_text(encoding="utf-8")))
    told = CODEC.decode("finding", CODEC.finding(_finding()))
    body = io.BytesIO()
    fastavro.schemaless_writer(body, before, {name: value for name, value in told.items() if name != "reason"})

    class Older(FixedSchemas):
        """A book in which finding's id stands for the schema before."""

        def writer_schema(self, schema_id: int) -> Any:  # noqa: ANN401 - fastavro's schema
            """Return the older schema."""
            del schema_id
            return before

    read = RecordCodec("shop", Older()).read_finding(frame(1, body.getvalue()))
    assert (read.finding.stage, read.finding.reason) == (Stage.CONFIRMED, None)


def test_the_key_in_plain_never_goes_out() -> None:
    """Only its seal and its hash do."""
    value = CODEC.finding(_finding())
    assert b"a key in plain" not in value
    assert CODEC.read_finding(value).finding.canonical_key == b""


def test_a_record_says_where_it_comes_from() -> None:
    """Deployment, shard, transaction, connector task, checker with its version, trace."""
    told = CODEC.decode("finding", CODEC.finding(_finding()))
    assert {
        name: told[name]
        for name in (
            "deployment",
            "shard",
            "source_transaction",
            "connector_task",
            "checker",
            "checker_version",
            "trace_id",
        )
    } == {
        "deployment": "shop",
        "shard": 3,
        "source_transaction": "99",
        "connector_task": "my-source/0",
        "checker": "key",
        "checker_version": 1,
        "trace_id": b"t" * 16,
    }


def test_a_rehearsal_comes_back_as_it_was_told() -> None:
    """With every table that it touched, and the reason where one said no."""
    touched = (Touched("shop.lines", 0, UNCOUNTED, 2, "foreign key parents"), Touched("", inserted=1))
    told = Rehearsal(
        b"b" * 32, b"c" * 16, b"d" * 32, "orders", "my", RefusalReason.ROW_MOVED, "why", touched, False, 3, 7, b"t" * 16
    )
    for each in (told, replace(told, reason=None, touched=(), is_complete=True)):
        assert CODEC.read_rehearsal(CODEC.rehearsal(each)) == each


def test_a_provenance_goes_with_any_record() -> None:
    """An approval is traced as a finding is."""
    approval = Approval(b"b", (b"m",), approved=True, said_at_ms=1, expires_at_ms=2)
    told = CODEC.decode("approval", CODEC.approval(approval, Provenance(shard=2, trace_id=b"t" * 16)))
    assert (told["shard"], told["trace_id"], told["deployment"]) == (2, b"t" * 16, "shop")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "bad_frame"),
        (b"", "bad_frame"),
        (b"\x01\x00\x00\x00\x01rest", "bad_frame"),
        (frame(4711, b"x"), "unknown_schema"),
        (frame(FIXED_IDS["finding"], b""), "bad_avro"),
        (CODEC.finding(_finding()) + b"\0", "bad_avro"),
    ],
)
def test_what_cannot_be_read_says_why(value: bytes | None, reason: str) -> None:
    """The reason is a closed word."""
    with pytest.raises(Undecodable) as fault:
        CODEC.read_finding(value)
    assert fault.value.reason == reason


def test_a_word_of_a_newer_version_is_not_guessed() -> None:
    """A stage that this version does not know is `unknown_word`, with what to do."""
    told = CODEC.decode("finding", CODEC.finding(_finding())) | {"stage": "escalated"}
    body = io.BytesIO()
    fastavro.schemaless_writer(body, own_schema("finding"), told)
    with pytest.raises(Undecodable, match="version at least as new") as fault:
        CODEC.read_finding(frame(FIXED_IDS["finding"], body.getvalue()))
    assert fault.value.reason == "unknown_word"


class _Newer(FixedSchemas):
    """A book in which finding's id stands for a schema with one more field."""

    def writer_schema(self, schema_id: int) -> Any:  # noqa: ANN401 - fastavro's schema
        """Return the newer schema."""
        del schema_id
        return newer_schema()


def newer_schema() -> Any:  # noqa: ANN401 - fastavro's schema
    """Return finding's schema with a field that this version does not know."""
    schema = json.loads((SCHEMAS / "finding.avsc").read_text(encoding="utf-8"))
    schema["fields"].insert(3, {"name": "severity", "type": "string", "default": "low"})
    return fastavro.parse_schema(schema)


def test_a_newer_writers_added_field_does_no_harm() -> None:
    """Records are read by their writer's schema and resolved to ours."""
    told = CODEC.decode("finding", CODEC.finding(_finding())) | {"severity": "high"}
    body = io.BytesIO()
    fastavro.schemaless_writer(body, newer_schema(), told)
    read = RecordCodec("shop", _Newer()).read_finding(frame(1, body.getvalue()))
    assert read.finding.entity == "orders"


def _zero(schema: Any) -> object:  # noqa: ANN401 - any schema
    """Return a value of a schema: the emptiest."""
    if isinstance(schema, dict):
        match schema["type"]:
            case "record":
                return {f["name"]: _zero(f["type"]) for f in schema["fields"]}
            case "array":
                return []
            case "map":
                return {}
            case inner:
                return _zero(inner)
    if isinstance(schema, list):
        return _zero(schema[0])
    return {"string": "", "bytes": b"", "int": 0, "long": 0, "boolean": False, "null": None}[schema]


@pytest.mark.parametrize("name", sorted(p.stem for p in (SCHEMAS / "previous").glob("*.avsc")))
def test_yesterdays_records_are_read_by_todays_schema(name: str) -> None:
    """Backward compatibility: what was written with the committed previous version resolves to the present one."""
    before = fastavro.parse_schema(json.loads((SCHEMAS / "previous" / f"{name}.avsc").read_text(encoding="utf-8")))
    body = io.BytesIO()
    fastavro.schemaless_writer(body, before, _zero(before))
    body.seek(0)
    read = fastavro.schemaless_reader(body, before, own_schema(name))
    assert isinstance(read, dict)
    assert set(read) == {f["name"] for f in own_schema(name)["fields"]}


def test_a_command_that_an_earlier_version_wrote_is_read_and_believed() -> None:
    """Without a registry too: its id stands for the schema of its time, and its signature for what that had."""
    written = signed(replace(World("new", "old").command("old", "new"), columns=("a",), source_transaction="7"))
    body = io.BytesIO()
    record = {"deployment": "d", "shard": 0, "connector_task": "", "checker": "", "checker_version": 0}
    fastavro.schemaless_writer(
        body, own_schema("previous/repair_command"), record_fields.command_fields(written) | record
    )
    read = RecordCodec("d", FixedSchemas()).read_command(frame(2, body.getvalue()))
    assert read == written
    assert BELIEF.distrust(SignerRole.PLANNER, read, 0) is None


@pytest.mark.parametrize("name", sorted(FIXED_IDS))
def test_every_field_of_every_schema_has_a_meaning(name: str) -> None:
    """A subscriber reads the schema and needs no other page."""
    schema = json.loads((SCHEMAS / f"{name}.avsc").read_text(encoding="utf-8"))
    assert all(f.get("doc") for f in schema["fields"])


@pytest.mark.parametrize(
    ("value_type", "name"),
    [
        (RepairCommand, "repair_command"),
        (Approval, "approval"),
        (CommandOutcome, "outcome"),
        (Rehearsal, "rehearsal"),
        (StatusReport, "status"),
    ],
)
def test_every_field_of_a_value_is_in_its_schema(value_type: Any, name: str) -> None:  # noqa: ANN401 - a dataclass
    """A field that is added to a value and forgotten in its schema would be lost in silence."""
    written = {f["name"] for f in own_schema(name)["fields"]}
    assert {f.name for f in fields(value_type)} <= written


def test_replacing_the_schema_of_an_id_is_noticed_by_the_reader() -> None:
    """A record under another schema's id does not read as ours."""
    value = CODEC.outcome(CommandOutcome(b"c", b"f", "orders", "my", Outcome.APPLIED, None, 1, "7", 0, b"", ""))
    readers: list[Callable[[bytes | None], object]] = [CODEC.read_finding, CODEC.read_command, CODEC.read_quarantine]
    for read in readers:
        with pytest.raises(Undecodable):
            read(value)


def test_values_are_frozen() -> None:
    """A finding is changed by making another."""
    one = _finding()
    assert replace(one, key_hash=b"other") != one


def test_a_number_of_thousands_of_digits_is_an_unknown_transaction() -> None:
    """Python refuses to read it as a number, and no store has one."""
    fields = record_fields.finding_fields(_finding()) | {"deployment": "shop", "source_transaction": "9" * 5_000}
    assert record_fields.finding_of(fields).finding.transaction == 0


@pytest.mark.parametrize("wall_ms", [-1, 0, 253_402_300_800_000, (1 << 63) - 1])
def test_a_time_that_no_calendar_has_is_shown_as_none(wall_ms: int) -> None:
    """A record's writer sets its timestamp as it likes."""
    assert wall_text(wall_ms) == ""
    assert wall_text(253_402_300_799_000) == "9999-12-31T23:59:59.000Z"


def test_an_endless_number_is_no_word_on_control() -> None:
    """It must not stop the applier, which reads the topic from its beginning."""
    with pytest.raises(Undecodable):
        decode_control(b'{"said": "pause", "by": "x", "at_ms": 1e400}')
