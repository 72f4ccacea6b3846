"""Ed25519 keys in files: the planner's and each approver's private key, and the list of those that are trusted.

| file | in | holds | made by |
|---|---|---|---|
| `planner.key` | `keys_dir` of the worker | the planner's private key | `driftline init` |
| `approver.key` | where its owner's `approver_key_file` says | one person's private key | `driftline keys make` |
| `signers` | `keys_dir` of worker, applier and operators | whom to trust, one key a line | both; edited by people |

A line of `signers` is `planner|approver PERSON KEY [until TIME]`. Files are read again when they change, so that a key
that is added or taken away counts at once, without a restart.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Generic, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from app.adapters.seal import make_key, read_key
from app.core.errors import ContractViolation, Unready
from app.core.limits import PERSON_LENGTH_MAX
from app.core.signing import key_id_of
from app.core.trust import Signer, SignerRole, Signers

PLANNER_KEY: Final = "planner.key"
SIGNERS: Final = "signers"
_LINE: Final = re.compile(r"(?P<role>planner|approver) (?P<person>\S+) (?P<key>[0-9a-f]{64})(?: until (?P<until>\S+))?")
_PERSON: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._@+-]{{0,{PERSON_LENGTH_MAX - 1}}}")
_BYTES_MAX: Final = 1_048_576
_HEAD: Final = "# Whom this deployment trusts: planner|approver PERSON KEY [until 2027-01-31T00:00:00Z]\n"

_Made = TypeVar("_Made")


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether this key made this signature over this message."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


class SigningKey:
    """A private key. Its bytes are never shown."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key = self._key.public_key().public_bytes_raw()
        self.key_id = key_id_of(self.public_key)

    def sign(self, message: bytes) -> bytes:
        """Return the signature over a message (64 bytes)."""
        return self._key.sign(message)


class _Watched(Generic[_Made]):
    """What a file makes, made anew when the file has become another."""

    def __init__(self, path: Path, make: Callable[[Path], _Made]) -> None:
        self._path = path
        self._make = make
        self._seen: tuple[int, int, int] | None = None
        self._made: _Made | None = None

    def now(self) -> _Made:
        """Return what the file makes as it is now; `Unready` while it cannot be read."""
        try:
            found = self._path.stat()
            seen = (found.st_mtime_ns, found.st_size, found.st_ino)
            if self._made is None or seen != self._seen:
                self._made, self._seen = self._make(self._path), seen
        except (OSError, ContractViolation) as error:
            what = error.what if isinstance(error, ContractViolation) else f"cannot be read: {error.strerror}"
            raise Unready(what, where=str(self._path), hint="put the file back; nothing is trusted without") from error
        return self._made


class KeyFile:
    """A private key in a file."""

    def __init__(self, path: Path) -> None:
        self._watched = _Watched(path, lambda at: SigningKey(read_key(at)))

    def now(self) -> SigningKey:
        """Return the key as the file holds it now."""
        return self._watched.now()


class SignersFile:
    """The list of trusted keys in a file."""

    def __init__(self, keys_dir: Path) -> None:
        self._watched = _Watched(keys_dir / SIGNERS, read_signers)

    def now(self) -> Signers:
        """Return whom the file trusts now."""
        return self._watched.now()


def read_signers(path: Path) -> Signers:
    """Read a list of signers; `ContractViolation` says which line is none, or that others may write the file."""
    try:
        mode = path.stat().st_mode & 0o777
        with path.open("rb") as file:
            text = file.read(_BYTES_MAX + 1)
    except OSError as error:
        what = f"the list of signers cannot be read: {error.strerror}"
        raise ContractViolation(what, where=str(path), hint="`driftline init` makes it") from error
    if mode & 0o022:
        raise ContractViolation("others may write this list", where=str(path), hint=f"chmod go-w {path.name}")
    if len(text) > _BYTES_MAX:
        raise ContractViolation("the list is too long", where=str(path), hint="take old keys out")
    signers: dict[bytes, Signer] = {}
    for number, line in enumerate(text.decode("utf-8", "replace").splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            signer = _signer(line.strip(), f"{path}:{number}")
            key_id = key_id_of(signer.public_key)
            if key_id in signers:
                raise ContractViolation(
                    "this key stands here twice", where=f"{path}:{number}", hint="a key is one role's"
                )
            signers[key_id] = signer
    return signers


def _signer(line: str, where: str) -> Signer:
    found = _LINE.fullmatch(line)
    if found is None or _PERSON.fullmatch(found["person"]) is None:
        hint = "write `planner|approver PERSON KEY [until 2027-01-31T00:00:00Z]`, the key in 64 hex digits"
        raise ContractViolation("not a signer", where=where, hint=hint)
    until_ms = None
    if found["until"]:
        try:
            until = datetime.fromisoformat(found["until"])
        except ValueError:
            raise ContractViolation("not a time", where=where, hint="write it as 2027-01-31T00:00:00Z") from None
        until_ms = int((until if until.tzinfo else until.replace(tzinfo=UTC)).timestamp() * 1_000)
    return Signer(SignerRole(found["role"]), found["person"], bytes.fromhex(found["key"]), until_ms)


def signer_line(role: SignerRole, person: str, public_key: bytes) -> str:
    """Return the line by which a key is trusted; `ContractViolation` for a person who cannot be named so."""
    line = f"{role.value} {person} {public_key.hex()}"
    if _PERSON.fullmatch(person) is None:
        what = "a person is named by letters, digits and . _ @ + -"
        raise ContractViolation(what, hint=f"at most {PERSON_LENGTH_MAX} of them, as anna.meier@example.com")
    return line


def trust(path: Path, line: str) -> None:
    """Add a line to the list of signers; the list is made if there is none."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        with os.fdopen(descriptor, "a", encoding="ascii") as file:
            file.write(line + "\n" if file.tell() else _HEAD + line + "\n")
    except OSError as error:
        raise ContractViolation(f"the list of signers cannot be written: {error.strerror}", where=str(path)) from error


def make_signing_key(path: Path, trusted: Callable[[SigningKey], None]) -> SigningKey:
    """Put a new private key of mode 600 at `path`, in the place of an old one if there is one.

    `trusted` is called before the key can be used, so that nobody meets a signature of a key that is not trusted yet.
    """
    beside = path.with_name(path.name + ".new")
    try:
        beside.unlink(missing_ok=True)
        make_key(beside)
        made = SigningKey(read_key(beside))
        trusted(made)
        beside.replace(path)
    except OSError as error:
        raise ContractViolation(f"the key cannot be written: {error.strerror}", where=str(path)) from error
    return made
