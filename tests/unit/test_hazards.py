"""The pages of hazards and of faults keep to the truth: what they name exists, and nothing is without an answer."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from app.core.preflight.problems import Problem
from tests.conftest import COLLECTED

PROJECT: Final = Path(__file__).parents[2]
HAZARDS: Final = 100
_FAULT: Final = re.compile(r"^\| ([AFS]\d+) \| .+ \| .+ \| (.+) \|$", re.MULTILINE)
FAULTS: Final = [*(f"F{number}" for number in range(13, 24)), "A1", "A2", *(f"S{number}" for number in range(1, 11))]
_ROW: Final = re.compile(r"\| H(\d+) \| (.+) \| (handled|refused|not detected) \| (.+) \|")


@dataclass(frozen=True)
class Answer:
    """One line of the page: `codes` are what its last cell names that is no test, `quoted` what it cites."""

    number: int
    hazard: str
    kind: str
    tests: frozenset[str]
    codes: frozenset[str]
    quoted: tuple[str, ...]


def answers(page: str) -> list[Answer]:
    """Read the page's lines."""
    found = []
    for number, hazard, kind, by in _ROW.findall(page):
        quoted = tuple(re.findall(r'"([^"]+)"', by))
        names = re.findall(r"`([^`]+)`", "" if quoted else by)
        tests = frozenset(name for name in names if name.startswith("test_"))
        found.append(Answer(int(number), hazard, kind, tests, frozenset(names) - tests, quoted))
    return found


ANSWERS: Final = answers((PROJECT / "docs" / "hazards.md").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def collected(pytestconfig: pytest.Config) -> dict[str, set[Path]]:
    """The tests that pytest collects, by name, with their files."""
    if pytestconfig.args == pytestconfig.getini("testpaths"):
        names = pytestconfig.stash[COLLECTED]
        told = "\n".join(names)
    else:
        # Some tests alone were asked for, and the page names others.
        command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests"]
        told = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    found: dict[str, set[Path]] = {}
    for file, name in re.findall(r"^(tests/\S+?\.py)::(?:\w+::)*(\w+)", told, re.MULTILINE):
        found.setdefault(name, set()).add(PROJECT / file)
    return found


def undetected() -> list[str]:
    """Return the README's lines of what is not detected."""
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("## What is not detected\n")[2].partition("\n## ")[0]
    return re.findall(r"^- (.+)$", section, re.MULTILINE)


def test_every_hazard_has_one_answer() -> None:
    """From the first to the last, in order, each told differently."""
    assert [answer.number for answer in ANSWERS] == list(range(1, HAZARDS + 1))
    assert len({answer.hazard for answer in ANSWERS}) == HAZARDS


def test_every_test_that_the_page_names_is_collected(collected: dict[str, set[Path]]) -> None:
    """A test that was renamed or taken away takes its answers with it."""
    assert {name for answer in ANSWERS for name in answer.tests} - collected.keys() == set()


def test_what_is_handled_or_refused_is_tested_and_what_is_not_detected_is_said() -> None:
    """An answer has the form of its kind, and no other."""
    lines = undetected()
    for answer in ANSWERS:
        where = f"H{answer.number}"
        if answer.kind == "not detected":
            assert not answer.tests | answer.codes, where
            (quoted,) = answer.quoted
            assert sum(line.startswith(quoted) for line in lines) == 1, f"{where}: {quoted}"
        else:
            assert answer.tests, where
            assert bool(answer.codes) is (answer.kind == "refused"), where


def test_what_is_refused_is_a_problem_of_the_closed_list_that_a_test_of_the_line_expects(
    collected: dict[str, set[Path]],
) -> None:
    """One of the files that hold the line's tests asks for each of the line's problems."""
    problems = {problem.code: problem for problem in Problem}
    for answer in ANSWERS:
        text = "".join(file.read_text(encoding="utf-8") for name in answer.tests for file in collected[name])
        for code in answer.codes:
            assert re.search(rf"\bP(roblem)?\.{problems[code].name}\b", text), f"H{answer.number}: {code}"


def test_every_fault_of_repairs_is_answered_by_tests_that_are_collected(collected: dict[str, set[Path]]) -> None:
    """Each once, in order, and none by nothing."""
    answered = _FAULT.findall((PROJECT / "docs" / "repairs.md").read_text(encoding="utf-8"))
    assert [number for number, _ in answered] == FAULTS
    named = {number: set(re.findall(r"`(test_\w+)`", by)) for number, by in answered}
    assert [number for number, tests in named.items() if not tests or tests - collected.keys()] == []
