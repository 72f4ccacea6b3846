"""What the stack needs of the system: installed where that is allowed, else asked for in words that can be pasted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from stack_parts import tools
from stack_parts.failure import StackError

PROGRAM = "program-that-no-system-has"
WANTED = (tools.Tool("sh", ("dash",)), tools.Tool(PROGRAM, ("its-package", "another")))


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a system of which one program is missing, and whose programs lie in the folder that is returned."""
    monkeypatch.setattr(tools, "_SEARCH", f"{tmp_path}{os.pathsep}/bin")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return tmp_path


def _apt_get(system: Path, does: str) -> None:
    program = system / "apt-get"
    program.write_text(f'#!/bin/sh\necho "$*" >> {system}/asked\n{does}\n', encoding="ascii")
    program.chmod(0o755)


def _bring(system: Path) -> str:
    made = system / PROGRAM
    return f": > {made}; /bin/chmod 755 {made}"


def test_what_is_missing_is_installed_and_nothing_else(system: Path) -> None:
    """The packages of the missing program alone, without what they merely recommend."""
    _apt_get(system, _bring(system))
    assert tools.ensure_tools(system / "lock", WANTED) == ["its-package", "another"]
    update, install = (system / "asked").read_text(encoding="ascii").splitlines()
    assert update.startswith("update")
    assert install == "install -y -qq --no-install-recommends its-package another"


def test_where_nothing_is_missing_nothing_is_asked_for(system: Path) -> None:
    """A second start needs no rights and no network."""
    _apt_get(system, _bring(system))
    (system / PROGRAM).touch(mode=0o755)
    assert tools.ensure_tools(system / "lock", WANTED) == []
    assert not (system / "asked").exists()


def test_a_module_that_came_meanwhile_is_seen(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own parts that Debian keeps apart (venv) are found by the process that had them installed."""
    monkeypatch.syspath_prepend(str(system))
    module = tools.Module("module_that_came_meanwhile", ("its-package",))
    assert module.path() is None
    _apt_get(system, f": > {system}/module_that_came_meanwhile.py")
    assert tools.ensure_tools(system / "lock", [module]) == ["its-package"]


def test_without_rights_the_command_is_told(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary user gets the very line to run, and no attempt is made."""
    _apt_get(system, _bring(system))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(StackError, match=PROGRAM) as failed:
        tools.ensure_tools(system / "lock", WANTED)
    assert "sudo sh -c 'apt-get update && apt-get install --no-install-recommends its-package another'" in (
        failed.value.hint
    )
    assert not (system / "asked").exists()


def test_without_apt_the_programs_are_named(system: Path) -> None:
    """Another kind of system is told what is missing."""
    with pytest.raises(StackError, match=PROGRAM) as failed:
        tools.ensure_tools(system / "lock", WANTED)
    assert "no apt-get" in failed.value.hint


@pytest.mark.parametrize(
    ("does", "said"),
    [
        pytest.param("echo 'E: no network' >&2; exit 100", "no network", id="apt-get fails"),
        pytest.param("exit 0", "still missing after the install", id="apt-get brings something else"),
    ],
)
def test_an_install_that_does_not_help_is_told(system: Path, does: str, said: str) -> None:
    """With what apt said, or what is still missing, and the command to try by hand."""
    _apt_get(system, does)
    with pytest.raises(StackError, match=said) as failed:
        tools.ensure_tools(system / "lock", WANTED)
    assert "apt-get install" in failed.value.hint
