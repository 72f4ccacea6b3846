"""Seals before-images with AES-256-GCM under data keys, which stand wrapped by a master key beside what they seal.

What is sealed: a format byte, the master key's id with its length, the wrapped data key with its length, a nonce (12),
the ciphertext with its tag. A data key seals a batch of images, and no more once another master key is the newest: so
a master key is changed by making the next one, and old images open for as long as theirs is held.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.adapters.seal import KEY_BYTES
from app.core.errors import Undecodable
from app.ports import MasterKeys

IMAGES_PER_DATA_KEY: Final = 1_000
_FORMAT: Final = 2
_NONCE_BYTES: Final = 12
_OPENED_MOST: Final = 100


@dataclass(frozen=True, slots=True)
class _DataKey:
    """A data key in use: the head that every image of its batch begins with."""

    master: bytes
    head: bytes
    cipher: AESGCM


@dataclass(frozen=True, slots=True)
class _Sealed:
    """The parts of a sealed image."""

    master: bytes
    wrapped: bytes
    head: bytes
    nonce: bytes
    text: bytes


def _parts(sealed: bytes) -> _Sealed:
    if len(sealed) > 1 and sealed[0] == _FORMAT:
        wrapped_at = 2 + sealed[1] + 2
        nonce_at = wrapped_at + int.from_bytes(sealed[wrapped_at - 2 : wrapped_at], "big")
        text_at = nonce_at + _NONCE_BYTES
        if len(sealed) > text_at:
            return _Sealed(
                master=sealed[2 : wrapped_at - 2],
                wrapped=sealed[wrapped_at:nonce_at],
                head=sealed[:nonce_at],
                nonce=sealed[nonce_at:text_at],
                text=sealed[text_at:],
            )
    raise Undecodable("seal", "not sealed in a format of ours")


def master_of(sealed: bytes) -> bytes:
    """Return the id of the master key without which a sealed image does not open."""
    return _parts(sealed).master


class ImageSeals:
    """Seals and opens images; `Unready` while the master keys cannot be reached."""

    def __init__(self, masters: MasterKeys) -> None:
        self._masters = masters
        self._in_use: _DataKey | None = None
        self._images_left = 0
        self._opened: dict[bytes, AESGCM] = {}

    def seal(self, purpose: bytes, plain: bytes) -> bytes:
        """Seal bytes for one purpose; they open for no other."""
        newest = self._masters.newest()
        key = self._in_use
        if key is None or key.master != newest or not self._images_left:
            key = self._in_use = self._new_data_key(newest)
            self._images_left = IMAGES_PER_DATA_KEY
        self._images_left -= 1
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return key.head + nonce + key.cipher.encrypt(nonce, plain, key.head + purpose)

    def _new_data_key(self, master: bytes) -> _DataKey:
        plain = secrets.token_bytes(KEY_BYTES)
        wrapped = self._masters.wrap(master, plain)
        head = bytes([_FORMAT, len(master)]) + master + len(wrapped).to_bytes(2, "big") + wrapped
        return _DataKey(master, head, AESGCM(plain))

    def open(self, purpose: bytes, sealed: bytes) -> bytes:
        """Open what was sealed for this purpose; `Undecodable` if it was not, `KeyNotHeld` without its master key."""
        parts = _parts(sealed)
        try:
            return self._data_key(parts).decrypt(parts.nonce, parts.text, parts.head + purpose)
        except InvalidTag as error:
            raise Undecodable("seal", "the seal is broken, or was made for something else") from error

    def _data_key(self, parts: _Sealed) -> AESGCM:
        cipher = self._opened.get(parts.head)
        if cipher is None:
            plain = self._masters.unwrap(parts.master, parts.wrapped)
            if len(plain) != KEY_BYTES:
                raise Undecodable("seal", "the wrapped key is none")
            if len(self._opened) >= _OPENED_MOST:
                self._opened.clear()
            cipher = self._opened[parts.head] = AESGCM(plain)
        return cipher
