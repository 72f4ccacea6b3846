"""`driftline keys`: keys to sign with, whom the deployment trusts, and the master keys of before-images."""

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
_MASTERS: Final = ("number", "key_id", "does", "file")
_USED: Final = (*_MASTERS, "images", "newest_at")


@click.group()
def command() -> None:
    """Make keys to sign with, see whom this deployment trusts, and change the master key of before-images.

    To change a key to sign with without a pause: make the new one, and take the old line out of `signers` when nothing
    signed with it is under way any more; an approver says `driftline resume` with the new one before. To take a
    person's trust away: take their line out; it counts at once.

    To change the master key: `rotate` makes the next one, and appliers seal under it from then on; older ones open what
    they sealed for as long as their files are there.
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
            "until": _shown_time(signer.until_ms),
        }
        for key_id, signer in signers.items()
    ]
    print_records(shown, invocation.output, _LISTED)
    return ExitCode.AGREE


@command.command("rotate")
@click.pass_obj
def rotate(invocation: Invocation) -> int:
    """Make the next master key of before-images; the appliers of this host use it at once.

    Bring its file to the hosts of all other appliers: until then they cannot undo what was sealed under it. Where
    something else fills the folder, such as a mount of secrets, put 32 random bytes there under the next number.
    """
    from app.adapters.master_keys import make_master_key

    made = make_master_key(invocation.settings().master_keys_dir)
    click.echo(f"made {made.path}: master key {made.key_id.hex()} seals from now on", err=True)
    return ExitCode.AGREE


@command.command("masters")
@click.option("--used", is_flag=True, help="Read the ledgers through, and count what each key opens.")
@click.pass_obj
def masters(invocation: Invocation, *, used: bool) -> int:
    """List the master keys of before-images, the newest first.

    Nothing in a ledger is ever sealed anew. A key is retired by taking its file away from all hosts: what it sealed can
    then be opened by nobody, and those repairs be undone no more. `--used` tells how many they are and how old; exit
    code 1 if a key that opens some of them is not here.
    """
    from app.adapters.master_keys import master_key_files

    settings = invocation.settings()
    files = master_key_files(settings.master_keys_dir)
    shown: dict[bytes, dict[str, object]] = {
        key.key_id: {
            "number": key.number,
            "key_id": key.key_id.hex(),
            "does": "opens" if place else "seals and opens",
            "file": str(key.path),
        }
        for place, key in enumerate(files)
    }
    if used:
        for key_id, (images, newest_ms) in _images_by_master(settings).items():
            line = shown.setdefault(key_id, {"number": None, "key_id": key_id.hex(), "does": "is not here", "file": ""})
            line |= {"images": images, "newest_at": _shown_time(newest_ms)}
    print_records(list(shown.values()), invocation.output, _USED if used else _MASTERS)
    return ExitCode.DRIFT if len(shown) > len(files) else ExitCode.AGREE


def _images_by_master(settings: Settings) -> dict[bytes, tuple[int, int]]:
    """Count the before-images of all targets by the master key that opens them; with each, when the newest was made."""
    from app.adapters.image_seals import master_of
    from app.cli.applier import row_stores

    found: dict[bytes, tuple[int, int]] = {}
    for store in row_stores(settings, targets_only=True).values():
        for row in store.ledger_rows():
            if row.before_image:
                master = master_of(row.before_image)
                images, newest_ms = found.get(master, (0, 0))
                found[master] = images + 1, max(newest_ms, row.written_at_ms)
    return found


def _shown_time(wall_ms: int | None) -> str | None:
    return None if wall_ms is None else datetime.fromtimestamp(wall_ms / 1_000, UTC).isoformat(timespec="seconds")
