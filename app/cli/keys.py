"""`driftline keys`: make a key to sign with, and see whom the deployment trusts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation
from app.cli.output import print_records
from app.core.errors import ContractViolation
from app.core.trust import SignerRole

if TYPE_CHECKING:
    from app.adapters.signing import SigningKey
    from app.settings import Settings

_LISTED: Final = ("role", "person", "key_id", "until")


@click.group()
def command() -> None:
    """Make keys to sign with, and see whom this deployment trusts.

    To change a key without a pause: make the new one, and take the old line out of `signers` when nothing signed with
    it is under way any more. To take a person's trust away: take their line out; it counts at once.
    """


def _path(settings: Settings, role: SignerRole) -> Path:
    from app.adapters.signing import PLANNER_KEY

    if role is SignerRole.PLANNER:
        return settings.keys_dir / PLANNER_KEY
    if settings.approver_key_file is None:
        raise ContractViolation("it is not said where the key goes", hint="set approver_key_file")
    return settings.approver_key_file


@command.command("make")
@click.argument("role", type=click.Choice([role.value for role in SignerRole]))
@click.argument("person")
@click.option("--replace", is_flag=True, help="In the place of the key that is there.")
@click.option("--trust/--no-trust", default=True, help="Add it to this host's list of signers.  [default: add it]")
@click.pass_obj
def make(invocation: Invocation, *, role: str, person: str, replace: bool, trust: bool) -> int:
    """Make a private key where the settings say, and print the line by which it is trusted.

    The line goes into `signers` of every host that must trust the key: those of the workers, of the appliers, and of
    the people who approve. The private key never leaves its file.
    """
    from app.adapters import signing

    settings, as_role = invocation.settings(), SignerRole(role)
    path = _path(settings, as_role)
    if path.exists() and not replace:
        raise ContractViolation("there is a key already", where=str(path), hint="--replace makes another in its place")

    def trusted(key: SigningKey) -> None:
        line = signing.signer_line(as_role, person, key.public_key)
        if trust:
            signing.trust(settings.keys_dir / signing.SIGNERS, line)
        click.echo(line)

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    signing.make_signing_key(path, trusted)
    click.echo(f"made {path}", err=True)
    return ExitCode.AGREE


@command.command("list")
@click.pass_obj
def listed(invocation: Invocation) -> int:
    """List whom this deployment trusts."""
    from app.adapters.signing import SIGNERS, read_signers

    signers = read_signers(invocation.settings().keys_dir / SIGNERS)
    shown = [
        {
            "role": signer.role.value,
            "person": signer.person,
            "key_id": key_id.hex(),
            "public_key": signer.public_key.hex(),
            "until": _until(signer.until_ms),
        }
        for key_id, signer in signers.items()
    ]
    print_records(shown, invocation.output, _LISTED)
    return ExitCode.AGREE


def _until(wall_ms: int | None) -> str | None:
    return None if wall_ms is None else datetime.fromtimestamp(wall_ms / 1_000, UTC).isoformat(timespec="seconds")
