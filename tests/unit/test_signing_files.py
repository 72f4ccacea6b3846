"""Keys and the list of signers in files: who may read them, how they change, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.adapters.planner_trust import PlannerTrust
from app.adapters.signing import (
    SIGNERS,
    KeyFile,
    SignersFile,
    SigningKey,
    make_signing_key,
    read_signers,
    signer_line,
    trust,
    verify,
)
from app.core.errors import ContractViolation, Unready
from app.core.trust import SignerRole, distrust
from tests.property.applier_world import World
from tests.signatures import word_on

COMMAND = World("new", "old").command("old", "new")


def test_a_key_signs_and_only_its_own_half_verifies() -> None:
    """A signature of another key, over another message, or of another length, is none."""
    one, other = SigningKey(b"1" * 32), SigningKey(b"2" * 32)
    signature = one.sign(b"message")
    assert verify(one.public_key, b"message", signature)
    assert not verify(one.public_key, b"messagf", signature)
    assert not verify(other.public_key, b"message", signature)
    assert not verify(one.public_key, b"message", signature[:-1])
    assert not verify(b"short", b"message", signature)
    assert one.key_id != other.key_id


def folder_with(tmp_path: Path, *people: str) -> dict[str, SigningKey]:
    """Make a planner's key and people's keys, all trusted."""
    made: dict[str, SigningKey] = {}
    for person in ("planner", *people):
        role = SignerRole.PLANNER if person == "planner" else SignerRole.APPROVER

        def trusted(key: SigningKey, role: SignerRole = role, person: str = person) -> None:
            trust(tmp_path / SIGNERS, signer_line(role, person, key.public_key))

        made[person] = make_signing_key(tmp_path / f"{person}.key", trusted)
    return made


def test_keys_are_made_for_their_owner_alone(tmp_path: Path) -> None:
    """Mode 600, and the list can be read back."""
    made = folder_with(tmp_path, "anna")
    assert (tmp_path / "anna.key").stat().st_mode & 0o777 == 0o600
    signers = read_signers(tmp_path / SIGNERS)
    assert {(s.role.value, s.person) for s in signers.values()} == {("planner", "planner"), ("approver", "anna")}
    assert set(signers) == {made["planner"].key_id, made["anna"].key_id}


def test_a_key_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    """Whoever reads it can sign."""
    folder_with(tmp_path)
    (tmp_path / "planner.key").chmod(0o640)
    with pytest.raises(Unready, match="others may read"):
        KeyFile(tmp_path / "planner.key").now()


def test_a_planner_changes_its_key_without_a_pause(tmp_path: Path) -> None:
    """The new key is trusted before it signs; what the old one signed is believed until its line goes."""
    folder_with(tmp_path)
    planner = PlannerTrust.from_folder("d", tmp_path, lambda: 0)
    signers = SignersFile(tmp_path)
    before = planner.signed(COMMAND)
    seen: list[bool] = []

    def trusted(key: SigningKey) -> None:
        seen.append(planner.signed(COMMAND) == before)
        trust(tmp_path / SIGNERS, signer_line(SignerRole.PLANNER, "planner", key.public_key))

    make_signing_key(tmp_path / "planner.key", trusted)
    after = planner.signed(COMMAND)
    assert seen == [True]
    assert before.key_id != after.key_id
    for command in (before, after):
        assert distrust(signers.now(), verify, SignerRole.PLANNER, "d", command, 0) is None
    kept = [line for line in (tmp_path / SIGNERS).read_text().splitlines() if after_hex(signers, after.key_id) in line]
    (tmp_path / SIGNERS).write_text("\n".join(kept) + "\n")
    assert distrust(signers.now(), verify, SignerRole.PLANNER, "d", before, 0) is not None
    assert distrust(signers.now(), verify, SignerRole.PLANNER, "d", after, 0) is None


def test_a_planner_whom_nobody_believes_does_not_start(tmp_path: Path) -> None:
    """Its commands would all be refused; without a key it has nothing to sign with."""
    planner = PlannerTrust.from_folder("d", tmp_path, lambda: 0)
    with pytest.raises(Unready, match="cannot be read"):
        planner.check()
    folder_with(tmp_path)
    planner.check()
    (tmp_path / SIGNERS).write_text("")
    with pytest.raises(Unready, match="not in the list of signers"):
        planner.check()


def after_hex(signers: SignersFile, key_id: bytes) -> str:
    """Return a trusted key's hex digits."""
    return signers.now()[key_id].public_key.hex()


def test_the_planner_hears_approvers_only(tmp_path: Path) -> None:
    """Its own key is none of an approver's."""
    made = folder_with(tmp_path, "anna")
    planner = PlannerTrust.from_folder("d", tmp_path, lambda: 0)
    assert planner.hears(word_on([COMMAND], made["anna"]))
    assert not planner.hears(word_on([COMMAND], made["planner"]))
    assert not planner.hears(word_on([COMMAND], SigningKey(b"x" * 32)))


def test_without_the_list_nothing_is_trusted_and_nothing_refused(tmp_path: Path) -> None:
    """It is waited for: a refusal would be for good."""
    folder_with(tmp_path)
    signers = SignersFile(tmp_path)
    assert signers.now()
    (tmp_path / SIGNERS).rename(tmp_path / "away")
    with pytest.raises(Unready, match="cannot be read"):
        signers.now()
    (tmp_path / "away").rename(tmp_path / SIGNERS)
    assert signers.now()


KEY = "ab" * 32


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("approver anna", "not a signer"),
        (f"owner anna {KEY}", "not a signer"),
        (f"approver anna {KEY[:-1]}", "not a signer"),
        (f"approver anna {KEY.upper()}", "not a signer"),
        (f"approver \x1b[2J {KEY}", "not a signer"),
        (f"approver anna {KEY} until", "not a signer"),
        (f"approver anna {KEY} until tomorrow", "not a time"),
        (f"approver anna {KEY} forever", "not a signer"),
        (f"approver {'a' * 61} {KEY}", "not a signer"),
        (f"planner p {KEY}\napprover anna {KEY}", "twice"),
    ],
)
def test_a_line_that_is_no_signer_is_refused_with_its_number(tmp_path: Path, text: str, what: str) -> None:
    """Nothing is guessed: one bad line and the list does not count."""
    path = tmp_path / SIGNERS
    path.write_text("# whom we trust\n\n" + text + "\n")
    with pytest.raises(ContractViolation, match=what) as refused:
        read_signers(path)
    assert refused.value.where.startswith(f"{path}:")
    assert refused.value.hint


def test_a_list_that_others_may_write_is_refused(tmp_path: Path) -> None:
    """Whoever writes it chooses whom to trust."""
    path = tmp_path / SIGNERS
    path.write_text(f"approver anna {KEY} until 2027-01-31T00:00:00Z\n")
    path.chmod(0o664)
    with pytest.raises(ContractViolation, match="others may write"):
        read_signers(path)
    path.chmod(0o644)
    (signer,) = read_signers(path).values()
    assert signer.until_ms == 1_801_353_600_000


@pytest.mark.parametrize("person", ["", "anna meier", "-anna", "anna\n", "\u0430nna", "a" * 61])
def test_a_person_who_cannot_be_named_so_is_refused(person: str) -> None:
    """A name stands in a line, in a ledger and on screens."""
    with pytest.raises(ContractViolation, match="named by"):
        signer_line(SignerRole.APPROVER, person, b"k" * 32)
