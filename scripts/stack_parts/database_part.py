"""What the two database servers have in common: an unprivileged user, a data folder made once, SQL run once."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from stack_parts.failure import StackError
from stack_parts.layout import Layout
from stack_parts.tools import require

SQL = Path(__file__).parent / "sql"


def as_user(user: str | None) -> tuple[str, ...]:
    """The prefix of a command that makes it run as this user; the pid stays the same."""
    if user is None:
        return ()
    return (require("setpriv"), f"--reuid={user}", f"--regid={user}", "--init-groups")


def run(what: str, command: Sequence[str], *, text: str = "", environment: Mapping[str, str] | None = None) -> str:
    """Run a short command to its end and return what it said; an error repeats what it said."""
    done = subprocess.run(
        command,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={**os.environ, **(environment or {})},
    )
    if done.returncode:
        raise StackError(f"{what} failed: {(done.stderr or done.stdout).strip()[-800:]}")
    return done.stdout


def owned_folder(folder: Path, user: str | None) -> Path:
    """A folder that only this user may enter."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if user is not None:
        shutil.chown(folder, user, user)
    return folder


def make_once(folder: Path, user: str | None, make: Callable[[Path], None]) -> None:
    """Make a data folder under another name and rename it when it is whole: a half-made one is never taken for done."""
    if folder.exists():
        return
    fresh = folder.with_name(f"{folder.name}.fresh")
    shutil.rmtree(fresh, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    make(owned_folder(fresh, user))
    fresh.rename(folder)


def filled(script: str, values: Mapping[str, str]) -> str:
    """A script with its `{{name}}` places filled."""
    text = (SQL / script).read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace("{{" + name + "}}", value)
    return text


def provision_once(layout: Layout, database: str, script: str, run_script: Callable[[str], None]) -> None:
    """Run a script that changes nothing twice, unless this very text was run to its end before."""
    done = layout.settings / f"{database}.provisioned"
    digest = hashlib.sha256(script.encode()).hexdigest()
    if not done.exists() or done.read_text(encoding="ascii") != digest:
        run_script(script)
        done.write_text(digest, encoding="ascii")
