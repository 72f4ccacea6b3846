"""What is signed is all there is: no field, order or deployment can be changed under a signature."""

from __future__ import annotations

from dataclasses import fields, replace
from enum import Enum
from typing import Any

import pytest

from app.adapters.signing import verify
from app.core.approval import refusal_of
from app.core.command import Action, Approval, RefusalReason, RepairCommand
from app.core.signing import MEMBER_BYTES, batch_id, id_of_member, member_of, signed_form
from app.core.trust import SignerRole, distrust
from tests.property.applier_world import World
from tests.signatures import ANNA, DEPLOYMENT, NEXT_PLANNER, PLANNER, SIGNERS, STRANGER, signed, signed_word, word_on

COMMAND = signed(replace(World("new", "old").command("old", "new"), columns=("a", "b"), source_transaction="7"))
NAMES_POLICY = signed(replace(COMMAND, policy_id=b"p" * 16))
BEFORE_POLICIES = replace(COMMAND, sealed_key=b"sealed")
WORD = word_on([COMMAND])


def changed(value: Any) -> Any:  # noqa: ANN401 - any field
    """Return another value of the same type, as near as it gets."""
    match value:
        case Enum():
            return next(each for each in type(value) if each is not value)
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return value + "\u0430"  # looks like an a
        case bytes():
            return bytes([value[0] ^ 1]) + value[1:] if value else b"\0"
        case tuple():
            return value[::-1] if len(value) > 1 else (*value, b"m" * MEMBER_BYTES)
    raise AssertionError(value)


@pytest.mark.parametrize("name", [f.name for f in fields(RepairCommand)])
def test_no_field_of_a_command_can_be_changed(name: str) -> None:
    """One bit of any of them, and the planner has not signed it."""
    forged = replace(COMMAND, **{name: changed(getattr(COMMAND, name))})
    no = distrust(SIGNERS, verify, SignerRole.PLANNER, DEPLOYMENT, forged, 0)
    assert no is (RefusalReason.UNKNOWN_KEY if name == "key_id" else RefusalReason.FORGED)


@pytest.mark.parametrize("name", [f.name for f in fields(RepairCommand)])
def test_no_field_of_a_command_that_names_its_policy_can_be_changed(name: str) -> None:
    """Nor can its policy be taken out of it."""
    for value in {
        changed(getattr(NAMES_POLICY, name)),
        b"" if name == "policy_id" else changed(getattr(COMMAND, name)),
    }:
        forged = replace(NAMES_POLICY, **{name: value})
        no = distrust(SIGNERS, verify, SignerRole.PLANNER, DEPLOYMENT, forged, 0)
        assert no is (RefusalReason.UNKNOWN_KEY if name == "key_id" else RefusalReason.FORGED)


def test_what_was_signed_before_commands_named_their_policy_stays_signed() -> None:
    """The form is what it was: histories, words and open commands outlive the upgrade."""
    form = signed_form(DEPLOYMENT, BEFORE_POLICIES)
    assert form.hex() == "36da8dcd526bec8860db7bde584890bf62adf85f01a3f3eaa43fd31c005d67b0"
    assert distrust(SIGNERS, verify, SignerRole.PLANNER, DEPLOYMENT, NAMES_POLICY, 0) is None


@pytest.mark.parametrize("name", [f.name for f in fields(Approval)])
def test_no_field_of_a_word_can_be_changed(name: str) -> None:
    """Neither what was approved, nor by whom, nor until when. A yes that asks for a rehearsal has no form at all."""
    forged = replace(WORD, **{name: changed(getattr(WORD, name))})
    no = refusal_of(SIGNERS, verify, DEPLOYMENT, forged, 0)
    others = {"key_id": RefusalReason.UNKNOWN_KEY, "rehearses": RefusalReason.UNREADABLE}
    assert no is others.get(name, RefusalReason.FORGED)


def test_what_was_signed_is_believed() -> None:
    """Else the tests above prove nothing."""
    assert distrust(SIGNERS, verify, SignerRole.PLANNER, DEPLOYMENT, COMMAND, 0) is None
    assert refusal_of(SIGNERS, verify, DEPLOYMENT, WORD, 0) is None


@pytest.mark.parametrize(
    ("command", "deployment", "now_ms", "reason"),
    [
        (COMMAND, "other", 0, RefusalReason.FORGED),
        (replace(COMMAND, signature=b""), DEPLOYMENT, 0, RefusalReason.FORGED),
        (replace(COMMAND, signature=b"x" * 64), DEPLOYMENT, 0, RefusalReason.FORGED),
        (replace(COMMAND, signature=b"x" * 9_999), DEPLOYMENT, 0, RefusalReason.FORGED),
        (signed(COMMAND, STRANGER), DEPLOYMENT, 0, RefusalReason.UNKNOWN_KEY),
        (signed(COMMAND, ANNA), DEPLOYMENT, 0, RefusalReason.WRONG_ROLE),
        (replace(signed(COMMAND, STRANGER), key_id=PLANNER.key_id), DEPLOYMENT, 0, RefusalReason.FORGED),
        (signed(COMMAND, NEXT_PLANNER), DEPLOYMENT, 0, None),
    ],
)
def test_why_a_command_is_not_believed(
    command: RepairCommand, deployment: str, now_ms: int, reason: RefusalReason | None
) -> None:
    """Each with its own reason; two keys of one role are believed at once."""
    assert distrust(SIGNERS, verify, SignerRole.PLANNER, deployment, command, now_ms) is reason


def test_a_keys_time_ends() -> None:
    """From that moment on, whatever was signed before."""
    signers = {PLANNER.key_id: replace(SIGNERS[PLANNER.key_id], until_ms=1_000)}
    assert distrust(signers, verify, SignerRole.PLANNER, DEPLOYMENT, COMMAND, 999) is None
    no = distrust(signers, verify, SignerRole.PLANNER, DEPLOYMENT, COMMAND, 1_000)
    assert no is RefusalReason.OUTDATED_KEY


def test_a_field_cannot_flow_into_the_next() -> None:
    """Lengths are part of the form: "ab" + "c" is not "a" + "bc"."""
    one = replace(COMMAND, kind="ab", reason="c")
    other = replace(COMMAND, kind="a", reason="bc")
    assert signed_form(DEPLOYMENT, one) != signed_form(DEPLOYMENT, other)
    split = replace(COMMAND, columns=("a", "b", ""))
    assert signed_form(DEPLOYMENT, split) != signed_form(DEPLOYMENT, replace(COMMAND, columns=("a", "b")))


def test_a_batch_is_its_members_in_their_order() -> None:
    """And a member is a command with all its content, whoever signed it."""
    one = member_of(DEPLOYMENT, COMMAND)
    other = member_of(DEPLOYMENT, replace(COMMAND, action=Action.DELETE))
    assert (len(one), id_of_member(one)) == (MEMBER_BYTES, COMMAND.command_id)
    assert one == member_of(DEPLOYMENT, signed(COMMAND, NEXT_PLANNER))
    names = [batch_id(DEPLOYMENT, members) for members in ([one], [one, other], [other, one], [one, one])]
    assert len({*names, batch_id("other", [one])}) == 5


def test_a_word_on_one_batch_is_none_on_another() -> None:
    """Signed or not, the name must be that of its members."""
    altered = signed_word(replace(WORD, batch_id=b"b" * 32))
    assert refusal_of(SIGNERS, verify, DEPLOYMENT, altered, 0) is RefusalReason.ALTERED
