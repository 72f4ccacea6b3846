"""What RocksDB says of damage, and what it does not say by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.adapters.rocks import RocksPartition
from app.adapters.rocks_options import RocksOptions
from app.core.errors import StateDamaged, Unready

MIB = 1024 * 1024
KEYS = [b"k%05d" % n for n in range(5_000)]


def _options() -> RocksOptions:
    return RocksOptions(8 * MIB, 8 * MIB)


def _filled(folder: Path) -> RocksPartition:
    made = RocksPartition(folder, _options())
    made.write([(key, key * 10) for key in KEYS], 41)
    return made


def _with_tables(folder: Path) -> list[Path]:
    """Write, close, and open again, which turns RocksDB's log into tables."""
    for _ in range(2):
        _filled(folder).close()
    return list(folder.glob("*.sst"))


def test_what_was_written_is_read_after_another_opening(tmp_path: Path) -> None:
    """Values, deletions and the offset are one batch; the offset is no item."""
    _filled(tmp_path).close()
    made = RocksPartition(tmp_path, _options())
    made.write([(KEYS[0], None)], 42)
    assert made.multi_get([KEYS[1], KEYS[0], b"none"]) == [KEYS[1] * 10, None, None]
    assert [key for key, _ in made.items(b"", KEYS[4])] == KEYS[1:4]
    assert [key for key, _ in made.items(b"", b"z")] == KEYS[1:]
    assert made.offset() == 42
    made.close()


def test_a_new_folder_stands_at_no_offset(tmp_path: Path) -> None:
    """So that it is told from one that was read to the changelog's first record."""
    assert RocksPartition(tmp_path / "new", _options()).offset() is None


def test_a_flipped_byte_is_noticed_by_every_way_of_reading(tmp_path: Path) -> None:
    """Also by the iterator, which ends there as if there were nothing more."""
    for table in _with_tables(tmp_path):
        content = bytearray(table.read_bytes())
        content[len(content) // 3] ^= 0xFF
        table.write_bytes(content)
    made = RocksPartition(tmp_path, _options())
    with pytest.raises(StateDamaged, match="checksum"):
        made.multi_get(KEYS)
    with pytest.raises(StateDamaged, match="checksum"):
        list(made.items(b"", b"z"))


def test_a_missing_manifest_is_damage(tmp_path: Path) -> None:
    """It is not a new database."""
    _with_tables(tmp_path)
    for manifest in tmp_path.glob("MANIFEST-*"):
        manifest.unlink()
    with pytest.raises(StateDamaged):
        RocksPartition(tmp_path, _options())


def test_a_database_in_use_is_not_damaged(tmp_path: Path) -> None:
    """Nothing must be deleted because two workers have one name."""
    made = _filled(tmp_path)
    with pytest.raises(Unready, match="lock is held") as refused:
        RocksPartition(tmp_path, _options())
    assert not isinstance(refused.value, StateDamaged)
    made.close()
