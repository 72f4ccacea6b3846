"""Makes the files of secrets that a deployment needs and does not have yet; each only for its owner."""

from __future__ import annotations

import os
import secrets
from functools import partial
from pathlib import Path
from typing import Final

from app.adapters.own_script import LOGINS
from app.adapters.seal import KEY_FILES, make_key
from app.adapters.signing import PLANNER_KEY, SIGNERS, SigningKey, make_signing_key, signer_line, trust
from app.core.errors import ContractViolation
from app.core.trust import SignerRole
from app.settings import Settings

_MODE: Final = 0o600
_PRIVATE: Final = 0o700


def _make_text(path: Path, text: str) -> bool:
    path.parent.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
    return True


def _trust_planner(settings: Settings, key: SigningKey) -> None:
    line = signer_line(SignerRole.PLANNER, settings.deployment, key.public_key)
    trust(settings.keys_dir / SIGNERS, line)


def make_secret_files(settings: Settings) -> list[Path]:
    """Make keys, placeholder and the passwords of the roles that init makes; return the files that were made."""
    try:
        settings.keys_dir.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        made = [settings.keys_dir / name for name in KEY_FILES if make_key(settings.keys_dir / name)]
        planner = settings.keys_dir / PLANNER_KEY
        if not planner.exists():
            make_signing_key(planner, partial(_trust_planner, settings))
            made.append(planner)
        if _make_text(settings.placeholder_file, f"driftline-left-out-{secrets.token_hex(16)}"):
            made.append(settings.placeholder_file)
        for store in settings.stores.values():
            for role in LOGINS:
                login = store.roles.get(role)
                if login is None:
                    continue
                if login.password_file is None:
                    where = f"stores.{store.name}.roles.{role}"
                    raise ContractViolation(
                        "a role that init makes needs a password", where=where, hint="password_file"
                    )
                if _make_text(login.password_file, secrets.token_hex(16)):
                    made.append(login.password_file)
    except OSError as error:
        where = str(error.filename or settings.keys_dir)
        raise ContractViolation(f"a secret cannot be written: {error.strerror}", where=where) from error
    return made
