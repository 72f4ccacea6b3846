"""Seals canonical keys with AES-256-GCM, under keys that stand in files; before-images have `app.adapters.image_seals`.

What is sealed: a format byte, the key's id (4 bytes), a nonce (12), the ciphertext with its tag. The nonce is a keyed
hash of what is sealed and what for, so the same value for the same purpose has the same bytes after every crash, and
two different ones never share a nonce. What equal bytes tell a reader, the keyed hash of the key tells already.

Several keys may be held: the first seals, all open, so that a key can be changed while old records are still read.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.core.errors import ContractViolation, Undecodable

KEY_BYTES: Final = 32
KEY_FILES: Final = ("digest.key", "seal.key", "ledger.key")
_FORMAT: Final = 1
_ID_BYTES: Final = 4
_NONCE_BYTES: Final = 12
_HEAD_BYTES: Final = 1 + _ID_BYTES + _NONCE_BYTES
_MODE: Final = 0o600


def read_key(path: Path) -> bytes:
    """Read a key of 32 random bytes; `ContractViolation` says what is wrong with the file."""
    try:
        mode = path.stat().st_mode & 0o777
        key = path.read_bytes()
    except OSError as error:
        what = f"the key cannot be read: {error.strerror}"
        raise ContractViolation(what, where=str(path), hint="`driftline init` makes the keys") from error
    if len(key) != KEY_BYTES:
        raise ContractViolation(f"a key has {KEY_BYTES} bytes", where=str(path), hint="put the true key back")
    if mode & 0o077:
        raise ContractViolation("others may read this key", where=str(path), hint=f"chmod 600 {path.name}")
    return key


def make_key(path: Path) -> bool:
    """Make a key file of mode 600 unless there is one; return whether it was made."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())
    return True


def key_id_of(key: bytes) -> bytes:
    """Return what names a key beside what it sealed (4 bytes), and tells nothing of it."""
    return hashlib.blake2b(b"id", key=key, digest_size=_ID_BYTES, person=b"driftline-seal").digest()


class Seal:
    """One purpose's keys, the newest first."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._newest = keys[0]
        self._by_id = {key_id_of(key): AESGCM(key) for key in keys}

    def seal(self, purpose: bytes, plain: bytes) -> bytes:
        """Seal bytes for one purpose; they open for no other."""
        key_id = key_id_of(self._newest)
        told = len(purpose).to_bytes(4, "big") + purpose + plain
        nonce = hashlib.blake2b(told, key=self._newest, digest_size=_NONCE_BYTES, person=b"driftline-nonce").digest()
        return bytes([_FORMAT]) + key_id + nonce + self._by_id[key_id].encrypt(nonce, plain, purpose)

    def open(self, purpose: bytes, sealed: bytes) -> bytes:
        """Open what was sealed for this purpose; `Undecodable` if it was not, or with a key that is not held."""
        if len(sealed) < _HEAD_BYTES or sealed[0] != _FORMAT:
            raise Undecodable("seal", "not sealed in a format of ours")
        cipher = self._by_id.get(sealed[1 : 1 + _ID_BYTES])
        if cipher is None:
            raise Undecodable("seal", "sealed with a key that is not held", hint="is keys_dir the right folder?")
        try:
            return cipher.decrypt(sealed[1 + _ID_BYTES : _HEAD_BYTES], sealed[_HEAD_BYTES:], purpose)
        except InvalidTag as error:
            raise Undecodable("seal", "the seal is broken, or was made for something else") from error


class Sealer(Protocol):
    """Seals bytes for a purpose, and opens what was sealed for the same one."""

    def seal(self, purpose: bytes, plain: bytes) -> bytes:
        """Seal bytes for one purpose; they open for no other."""
        ...

    def open(self, purpose: bytes, sealed: bytes) -> bytes:
        """Open what was sealed for this purpose; `Undecodable` if it was not."""
        ...


class KeySeals:
    """Seals the canonical keys that stand on topics."""

    def __init__(self, keys: Seal) -> None:
        self._keys = keys

    @classmethod
    def from_folder(cls, keys_dir: Path) -> KeySeals:
        """Read `seal.key` from the deployment's folder."""
        return cls(Seal([read_key(keys_dir / "seal.key")]))

    def seal_key(self, entity: str, canonical_key: bytes) -> bytes:
        """Seal a canonical key; the same key gives the same bytes."""
        return self._keys.seal(b"key:" + entity.encode(), canonical_key)

    def open_key(self, entity: str, sealed: bytes) -> bytes:
        """Open a sealed key of this entity."""
        return self._keys.open(b"key:" + entity.encode(), sealed)


class DeploymentSeals(KeySeals):
    """Seals keys, and before-images for the ledger."""

    def __init__(self, keys: Seal, images: Sealer) -> None:
        super().__init__(keys)
        self._images = images

    def seal_image(self, row_id: bytes, image: bytes) -> bytes:
        """Seal a before-image for one ledger row."""
        return self._images.seal(b"image:" + row_id, image)

    def open_image(self, row_id: bytes, sealed: bytes) -> bytes:
        """Open the before-image of one ledger row."""
        return self._images.open(b"image:" + row_id, sealed)
