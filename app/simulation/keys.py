"""The rows' keys, and which partitions their changes go to."""

from __future__ import annotations


def key_of(number: int) -> bytes:
    """Return the key of a row by its number."""
    return b"k%07d" % number


def cdc_partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of its store's CDC topic that a row's changes go to."""
    return sum(key) % partitions


def target_of(key: bytes, targets: int) -> int:
    """Return the partition of `observations` that a row's changes go to."""
    return (key[-1] * 7 + key[-2]) % targets
