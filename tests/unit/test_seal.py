"""What is sealed opens with the right key, for the right purpose, and not at all otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.adapters.seal import KEY_BYTES, KeySeals, Seal, make_key, read_key
from app.core.errors import ContractViolation, Undecodable

OLD, NEW = b"o" * 32, b"n" * 32


def test_a_value_opens_again_and_shows_nothing() -> None:
    """Sealing hides the bytes, and the same value is sealed to the same bytes."""
    seal = Seal([NEW])
    sealed = seal.seal(b"key:orders", b"a canonical key")
    assert b"canonical" not in sealed
    assert sealed == seal.seal(b"key:orders", b"a canonical key")
    assert sealed != seal.seal(b"key:orders", b"a canonical kex")
    assert seal.open(b"key:orders", sealed) == b"a canonical key"


def test_an_old_key_still_opens_after_a_change_of_keys() -> None:
    """The newest key seals, all that are held open."""
    both = Seal([NEW, OLD])
    assert both.open(b"p", Seal([OLD]).seal(b"p", b"value")) == b"value"
    assert Seal([NEW]).open(b"p", both.seal(b"p", b"value")) == b"value"
    with pytest.raises(Undecodable, match="not held"):
        Seal([NEW]).open(b"p", Seal([OLD]).seal(b"p", b"value"))


@pytest.mark.parametrize("damage", [b"", b"\x01short", bytes(60)])
def test_hostile_bytes_do_not_open(damage: bytes) -> None:
    """Whatever stands on the topic is refused with a reason."""
    with pytest.raises(Undecodable):
        Seal([NEW]).open(b"p", damage)


def test_a_flipped_bit_or_another_purpose_does_not_open() -> None:
    """A seal is bound to its bytes and to what it was made for."""
    seal = Seal([NEW])
    sealed = bytearray(seal.seal(b"key:orders", b"value"))
    with pytest.raises(Undecodable, match="broken"):
        seal.open(b"key:customers", bytes(sealed))
    sealed[-1] ^= 1
    with pytest.raises(Undecodable, match="broken"):
        seal.open(b"key:orders", bytes(sealed))


def test_keys_are_made_once_and_only_for_their_owner(tmp_path: Path) -> None:
    """A key file has 32 random bytes and mode 600; making it again leaves it alone; a loose mode is refused."""
    for name in ("seal.key", "ledger.key"):
        assert make_key(tmp_path / name)
    path = tmp_path / "seal.key"
    key = read_key(path)
    assert len(key) == KEY_BYTES
    assert path.stat().st_mode & 0o777 == 0o600
    assert not make_key(path)
    assert read_key(path) == key
    seals = KeySeals.from_folder(tmp_path)
    assert seals.open_key("orders", seals.seal_key("orders", b"k")) == b"k"
    path.chmod(0o644)
    with pytest.raises(ContractViolation, match="others may read"):
        read_key(path)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(ContractViolation, match="32 bytes"):
        read_key(path)
    with pytest.raises(ContractViolation, match="cannot be read"):
        read_key(tmp_path / "no.key")
