"""Canonical keys: what cannot be one, and what is none."""

from __future__ import annotations

import pytest

from app.core.canonical_key import KEY_KINDS, decode_key, key_writer
from app.core.contract import EntityContract, FieldKind, FieldType, KeyField
from app.core.errors import ContractViolation, Undecodable
from app.core.types.canonical import Canonical

K = FieldKind


def keyed(*kinds: FieldKind) -> EntityContract:
    """Return a contract with a key of these kinds."""
    parts = tuple(KeyField(f"k{i}", FieldType(kind), {"pg": f"k{i}"}) for i, kind in enumerate(kinds))
    return EntityContract("e", 1, 1, parts, (), "pg", (), ())


def written(kind: FieldKind, value: Canonical) -> bytes:
    """Write one part."""
    return key_writer(FieldType(kind))(value)


@pytest.mark.parametrize(
    ("kind", "ordered"),
    [
        (K.INT64, [-(1 << 63), -65_537, -65_536, -256, -255, -1, 0, 1, 255, 256, (1 << 63) - 1]),
        (K.UINT64, [0, 1, (1 << 63), (1 << 64) - 1]),
        (
            K.DECIMAL,
            ["-Infinity", "-100", "-99.5", "-1", "-0.01", "-0.001", "0", "0.001", "0.01", "0.1", "1", "1.5", "9", "10",
             "100", "9" * 65, "Infinity", "NaN"],
        ),
        (K.STRING, ["", "\x00", "\x00a", "a", "a\x00", "a\x00b", "a\x01", "ab", "b", "é", "\uffff", "💶"]),
        (K.BYTES, [b"", b"\x00", b"\x00\x00", b"\x00\xff", b"\x01", b"\xff", b"\xff\xff"]),
        (K.DATE, ["-infinity", -719_468, -1, 0, 1, 2_932_896, "infinity"]),
        (K.INSTANT, ["-infinity", -(1 << 62), -1, 0, 1, 1 << 62, "infinity"]),
        (K.BOOL, [False, True]),
        (K.UUID, ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"]),
    ],
)  # fmt: skip
def test_bytes_sort_as_the_values_do(kind: FieldKind, ordered: list[Canonical]) -> None:
    """So that ranges of keys can be swept; each value comes back."""
    keys = [written(kind, value) for value in ordered]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)
    assert [decode_key(keyed(kind), key) for key in keys] == [(value,) for value in ordered]


def test_parts_of_a_key_do_not_run_into_each_other() -> None:
    """No part is the beginning of another."""
    pairs = [("a", "bc"), ("ab", "c"), ("abc", ""), ("", "abc"), ("a\x00", "b"), ("a", "\x00b")]
    keys = {written(K.STRING, left) + written(K.STRING, right) for left, right in pairs}
    assert len(keys) == len(pairs)


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"\x81",
        b"\x81\x01",
        b"\xff\x00",
        b"\x81\x01a",
        b"\x81\x01a\x00",
        b"\x81\x01a\x00\x01x",
        b"\x81\x01\xff\x00\x01",
    ],
)
def test_bytes_that_are_no_key_are_refused(key: bytes) -> None:
    """Sealed keys come from topics, and those are input."""
    with pytest.raises(Undecodable) as refused:
        decode_key(keyed(K.INT64, K.STRING), key)
    assert refused.value.reason == "wrong_key"


@pytest.mark.parametrize("kind", sorted(set(FieldKind) - KEY_KINDS, key=str))
def test_a_kind_without_one_order_cannot_be_a_key(kind: FieldKind) -> None:
    """Floats, JSON and the like are refused when the contract is compiled."""
    with pytest.raises(ContractViolation):
        key_writer(FieldType(kind))
