"""The project's virtual environment, made by whatever is there: uv if it is installed, else venv and pip.

Only the standard library is used here: this runs before anything is installed. The versions are those of `uv.lock` in
either way. A stamp in the environment tells when it was made from this lock, so that a second start costs nothing.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from stack_parts.failure import StackError
from stack_parts.tools import Module, ensure_tools

PROJECT = Path(__file__).resolve().parents[1]
ENVIRONMENT = PROJECT / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
PIP = ENVIRONMENT / "bin" / "pip"
STAMP = ENVIRONMENT / "made-from"
OLDEST, TOO_NEW = (3, 11), (3, 14)


class EnvironmentFailed(RuntimeError):
    """The environment could not be made; the text says what to do."""


def ensure() -> Path:
    """Return the environment's Python, made or brought up to date first where needed."""
    wanted = _fingerprint()
    if PYTHON.exists() and STAMP.exists() and STAMP.read_text(encoding="ascii") == wanted:
        return PYTHON
    if uv := shutil.which("uv"):
        _run([uv, "sync", "--locked", "--quiet", "--project", str(PROJECT)])
    else:
        _by_pip()
    STAMP.write_text(wanted, encoding="ascii")
    return PYTHON


def _fingerprint() -> str:
    taste = hashlib.sha256()
    for name in ("uv.lock", "pyproject.toml"):
        taste.update((PROJECT / name).read_bytes())
    return taste.hexdigest()


def _by_pip() -> None:
    if not OLDEST <= sys.version_info[:2] < TOO_NEW:
        raise EnvironmentFailed(f"this is Python {sys.version.split()[0]}; use 3.11, 3.12 or 3.13")
    # An attempt that could not bring pip has left everything else.
    if not PIP.exists():
        try:
            ensure_tools(PROJECT / ".stack" / "tools.lock", [Module("ensurepip", ("python3-venv",))])
        except StackError as failure:
            raise EnvironmentFailed(f"{failure}\n{failure.hint}") from None
        _run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)])
    constraints = ENVIRONMENT / "constraints.txt"
    constraints.write_text("".join(_pins()), encoding="utf-8")
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    development = _requirements(project["dependency-groups"], "dev")
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--constraint", str(constraints), "--editable", str(PROJECT), *development])


def _requirements(groups: dict[str, list[Any]], name: str) -> list[str]:
    """Return what a group of dependencies asks for, the groups that it includes among it."""
    found = []
    for entry in groups[name]:
        found += [entry] if isinstance(entry, str) else _requirements(groups, entry["include-group"])
    return found


def _pins() -> list[str]:
    lock = tomllib.loads((PROJECT / "uv.lock").read_text(encoding="utf-8"))
    return [
        f"{package['name']}=={package['version']}\n"
        for package in lock["package"]
        if "registry" in package.get("source", {})
    ]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROJECT)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-1500:]
        raise EnvironmentFailed(f"{' '.join(command[:4])} failed:\n{said}")


def become(module: str, arguments: list[str]) -> None:
    """Become a module of `scripts/`, run by the environment's Python; does not return."""
    if not PYTHON.exists():
        print("making the virtual environment (.venv); this is done once", flush=True)
    try:
        python = ensure()
    except EnvironmentFailed as failed:
        print(f"the virtual environment could not be made: {failed}", file=sys.stderr)
        sys.exit(2)
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(PROJECT / "scripts"), str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.execv(python, [str(python), "-m", module, *arguments])  # noqa: S606 - our own interpreter
