"""The master keys of before-images, as files of one folder: `ledger.key`, then `ledger.2.key` and so on.

The one with the highest number wraps, all unwrap. The folder is looked at before each use, so that a key that is put
there or taken away counts at once; it may as well be a mount of secrets that something else fills.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.adapters.seal import key_id_of, make_key, read_key
from app.core.errors import ContractViolation, Undecodable, Unready
from app.ports import KeyNotHeld

FIRST: Final = "ledger.key"
_NAME: Final = re.compile(r"ledger(?:\.([1-9][0-9]{0,5}))?\.key")
_NONCE_BYTES: Final = 12
_PURPOSE: Final = b"driftline-master"


@dataclass(frozen=True, slots=True)
class MasterKeyFile:
    """One master key; `number` is its place in the order in which they were made, from 1."""

    number: int
    key_id: bytes
    path: Path


def master_key_files(folder: Path) -> list[MasterKeyFile]:
    """Return a folder's master keys, the newest first; `ContractViolation` for one that is none, or for none at all."""
    found = [MasterKeyFile(number, key_id_of(read_key(path)), path) for number, path in _paths(folder)]
    if not found:
        raise ContractViolation("there is no master key", where=str(folder), hint="`driftline init` makes it")
    return found


def make_master_key(folder: Path) -> MasterKeyFile:
    """Make the next master key: from then on it wraps, wherever its file stands."""
    paths = _paths(folder)
    number = paths[0][0] + 1 if paths else 1
    path = folder / (FIRST if number == 1 else f"ledger.{number}.key")
    try:
        if not make_key(path):
            raise ContractViolation("somebody else makes a key right now", where=str(path), hint="look, and try again")
    except OSError as error:
        raise ContractViolation(f"the key cannot be written: {error.strerror}", where=str(path)) from error
    return MasterKeyFile(number, key_id_of(read_key(path)), path)


def _paths(folder: Path) -> list[tuple[int, Path]]:
    try:
        names = [found for path in folder.iterdir() if (found := _NAME.fullmatch(path.name))]
    except OSError as error:
        raise ContractViolation(f"the folder cannot be read: {error.strerror}", where=str(folder)) from error
    return sorted(((int(found[1] or 1), folder / found[0]) for found in names), reverse=True)


class FileMasterKeys:
    """A folder's keys as `MasterKeys`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: list[tuple[int, Path]] = []
        self._newest = b""
        self._ciphers: dict[bytes, AESGCM] = {}

    def _look(self) -> None:
        try:
            paths = _paths(self._folder)
            if not paths or paths != self._seen:
                keys = master_key_files(self._folder)
                self._ciphers = {key.key_id: AESGCM(read_key(key.path)) for key in keys}
                self._newest, self._seen = keys[0].key_id, paths
        except ContractViolation as fault:
            raise Unready(fault.what, where=fault.where, hint="put the keys back; nothing is sealed without") from fault

    def newest(self) -> bytes:
        """Return the id of the key that wraps now."""
        self._look()
        return self._newest

    def wrap(self, key_id: bytes, data_key: bytes) -> bytes:
        """Wrap a data key."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher(key_id).encrypt(nonce, data_key, _PURPOSE)

    def unwrap(self, key_id: bytes, wrapped: bytes) -> bytes:
        """Unwrap a data key."""
        self._look()
        try:
            return self._cipher(key_id).decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], _PURPOSE)
        except (InvalidTag, ValueError) as error:
            raise Undecodable("seal", "the wrapped key is broken") from error

    def _cipher(self, key_id: bytes) -> AESGCM:
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise KeyNotHeld(f"wrapped with the master key {key_id.hex()}", where=str(self._folder))
        return cipher
