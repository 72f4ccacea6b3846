"""A finding and a policy give one command under one id, or a stated refusal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.core.command import Action, RepairCommand, command_id
from app.core.contract import EntityContract, RepairMode, RepairPolicy, Replica
from app.core.finding import DriftKind, Evidence, Finding, Shown, Stage, Verdict
from app.core.plan import NotPlanned, Refusal, plan

POLICY = RepairPolicy(mode=RepairMode.APPLY, deletes=True, mass_rows=4, expires_after_ms=500)

AMOUNTS_WAIT = replace(POLICY, columns={"amount": RepairMode.PROPOSE})


def contract_with(policy: RepairPolicy) -> EntityContract:
    """Return a contract of one replica under this policy."""
    return EntityContract(
        entity="orders",
        version=3,
        number=1,
        key=(),
        fields=(),
        authority="shop",
        stores=(),
        replicas=(Replica(store="copy", window_ms=3_000, quiet_for_ms=30_000, repair=policy),),
    )


FINDING = Finding(
    finding_id=b"f" * 16,
    stage=Stage.OVERTAKEN,
    verdict=Verdict.DRIFT,
    kind=DriftKind.DIFFERENT,
    checker="key/1",
    contract_version=3,
    entity="orders",
    authority="shop",
    replica="copy",
    canonical_key=b"key",
    shard=0,
    observations_partition=2,
    evidence=Evidence((), (), 0, 0, 0, 0, 0),
    expected_digest=b"e" * 16,
    intended_digest=b"i" * 16,
    authority_position=b"p" * 20,
    replica_position=b"r" * 20,
    transaction=0,
    incident_id=b"",
    incident_rows=0,
    command_id=b"",
    trace_id=b"t" * 16,
)
EXTRA = replace(FINDING, kind=DriftKind.EXTRA, intended_digest=b"")


def planned(finding: Finding, policy: RepairPolicy = POLICY, *, is_mass: bool = False) -> RepairCommand | Refusal:
    """Plan with fixed outside values."""
    return plan(finding, contract_with(policy), b"k" * 16, b"sealed", 1_000, is_mass=is_mass, fence_token=9)


def test_a_row_in_the_authority_is_upserted() -> None:
    """The command names what it expects and what it leaves, and carries no value."""
    command = planned(FINDING)
    assert isinstance(command, RepairCommand)
    assert command.action is Action.UPSERT
    assert command.command_id == command_id(b"f" * 16, "copy", b"e" * 16, b"i" * 16)
    assert (command.expected_digest, command.intended_digest) == (b"e" * 16, b"i" * 16)
    assert (command.partition, command.expires_at_ms, command.fence_token) == (2, 1_500, 9)
    assert command.policy_id == POLICY.policy_id
    assert not command.needs_approval


@pytest.mark.parametrize(
    ("finding", "policy", "is_mass", "waits"),
    [
        (FINDING, POLICY, False, False),
        (FINDING, POLICY, True, True),
        (FINDING, replace(POLICY, mode=RepairMode.PROPOSE), False, True),
        (replace(FINDING, incident_id=b"x" * 16), POLICY, False, True),
        (EXTRA, POLICY, False, True),
        (EXTRA, replace(POLICY, deletes_wait=False), False, False),
        (EXTRA, replace(POLICY, deletes_wait=False, kinds={"extra": RepairMode.PROPOSE}), False, True),
        (FINDING, replace(POLICY, kinds={"different": RepairMode.PROPOSE}), False, True),
        (FINDING, replace(POLICY, kinds={"stale": RepairMode.PROPOSE}), False, False),
        (replace(FINDING, differing_columns=("note",)), AMOUNTS_WAIT, False, False),
        (replace(FINDING, differing_columns=("note", "amount")), AMOUNTS_WAIT, False, True),
        (FINDING, AMOUNTS_WAIT, False, True),  # nobody knows what differs
        (replace(FINDING, expected_digest=b"", differing_columns=("note",)), AMOUNTS_WAIT, False, True),  # an insert
        (EXTRA, replace(AMOUNTS_WAIT, deletes_wait=False), False, False),  # a delete chooses no field
    ],
)
def test_who_waits_for_a_person(finding: Finding, policy: RepairPolicy, *, is_mass: bool, waits: bool) -> None:
    """Deletes, incidents, masses and mere proposals wait for a word; the rest does not."""
    command = planned(finding, policy, is_mass=is_mass)
    assert isinstance(command, RepairCommand)
    assert command.needs_approval is waits
    assert command.action is (Action.UPSERT if finding.intended_digest else Action.DELETE)


@pytest.mark.parametrize(
    ("finding", "policy", "reason"),
    [
        (replace(FINDING, stage=Stage.CONFIRMED), POLICY, NotPlanned.NOT_OVERTAKEN),
        (replace(FINDING, verdict=Verdict.UNKNOWN), POLICY, NotPlanned.NOT_OVERTAKEN),
        (replace(FINDING, contract_version=2), POLICY, NotPlanned.OUTDATED_CONTRACT),
        (replace(FINDING, replica="other"), POLICY, NotPlanned.NOT_A_REPLICA),
        (replace(FINDING, authority="copy"), POLICY, NotPlanned.NOT_A_REPLICA),
        (FINDING, RepairPolicy(), NotPlanned.OBSERVE_ONLY),
        (FINDING, replace(POLICY, kinds={"different": RepairMode.OBSERVE}), NotPlanned.OBSERVE_ONLY),
        (FINDING, replace(POLICY, columns={"amount": RepairMode.OBSERVE}), NotPlanned.OBSERVE_ONLY),
        (replace(FINDING, incident_rows=5), POLICY, NotPlanned.NOTHING_TO_DO),
        (replace(FINDING, intended_digest=b"e" * 16), POLICY, NotPlanned.NOTHING_TO_DO),
        (replace(EXTRA, expected_digest=b""), POLICY, NotPlanned.NOTHING_TO_DO),
        (FINDING, replace(POLICY, upserts=False), NotPlanned.UPSERTS_OFF),
        (EXTRA, replace(POLICY, deletes=False), NotPlanned.DELETES_OFF),
    ],
)
def test_what_is_not_planned(finding: Finding, policy: RepairPolicy, reason: NotPlanned) -> None:
    """Every refusal to plan has a stated reason."""
    assert planned(finding, policy) == Refusal(finding.finding_id, reason)


def test_a_command_names_the_source_transaction_that_made_what_it_copies() -> None:
    """The authority's newest state's, where that state is the one to be copied."""
    newest = Shown(b"i" * 16, b"", 0, 0, "", 0, -1, 4711)
    finding = replace(FINDING, evidence=Evidence((newest,), (), 0, 0, 0, 0, 0))
    command = planned(finding)
    assert isinstance(command, RepairCommand)
    assert (command.source_transaction, command.planned_at_ms) == ("4711", 1_000)
    older = planned(replace(finding, intended_digest=b"j" * 16))
    assert isinstance(older, RepairCommand)
    assert older.source_transaction == ""
