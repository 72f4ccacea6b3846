"""Mutants of the core: each still breaks what is there, and the simulation catches some of them while we watch."""

from __future__ import annotations

import ast
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from mutant_parts.broken import NotThere, broken_sources
from mutant_parts.catalogue import MUTANTS, Mutant, Rule
from mutant_parts.main import BEGIN, END, hunt, shown, table, write

from app.simulation.faults import Fault
from app.simulation.verdicts import Complaint, Score


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_replaces_what_is_there(mutant: Mutant) -> None:
    """A rule that was rewritten takes its mutant along; what comes out is still Python, and its faults are faults."""
    for source in broken_sources(mutant).values():
        ast.parse(source)
    assert {Fault(name).value for name in mutant.among} == set(mutant.among)


def test_every_group_of_rules_has_its_mutants_and_every_name_is_its_own() -> None:
    """A table with two rows of one name would hide one."""
    assert {mutant.rule for mutant in MUTANTS} == set(Rule)
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_what_is_not_there_is_said() -> None:
    """A mutant that changes nothing would get away for the wrong reason."""
    with pytest.raises(NotThere, match="0 times"):
        broken_sources(Mutant("nothing", Rule.CHAINS, "app.core.verdict", "", "no such text", ""))


def test_what_was_not_hunted_stays_in_the_table(tmp_path: Path) -> None:
    """A mutant that is hunted alone takes its own row's place, and its name from the faults that it needed."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\n{END}\nafter\n", encoding="utf-8")
    row: dict[str, Any] = {"what": "missed", "changes": 400, "alone": []}
    both = [{"mutant": "no window", "seed": 3, "faults": ["row_hot"], **row}]
    both += [{"mutant": "no past", "seed": 4, "faults": ["row_hot", "rogue_writes"], **row}]
    write(page, table(both, shown(page)))
    again: list[dict[str, Any]] = [{"mutant": "no past", "seed": None, "what": "", "faults": [], "alone": []}]
    write(page, table(again, shown(page)))
    told = page.read_text(encoding="utf-8")
    assert "| 3 of 400 | missed | row_hot |" in told
    assert "| 4 of 400 |" not in told
    assert "| row_hot | no window |" in told
    assert "| rogue_writes | - |" in told
    assert told.startswith("before\n")
    assert told.endswith("\nafter\n")


def test_a_seed_in_which_the_sound_rules_fail_catches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the simulation complains anyway, its complaint says nothing of the rule that is broken."""
    told = {"mutant": "no window", "seed": 3, "changes": 400, "what": "missed", "faults": ["row_hot"], "alone": []}
    done = subprocess.CompletedProcess([], 0, stdout=json.dumps(told), stderr="")
    monkeypatch.setattr("mutant_parts.main.subprocess.run", lambda *_args, **_options: done)
    for complaints, seed in (([], 3), ([Complaint("missed", "R", b"", 0)], None)):
        monkeypatch.setattr("mutant_parts.main.run_seed", lambda *_world, found=complaints: Score(complaints=found))
        assert hunt(MUTANTS[0])["seed"] == seed


@pytest.mark.parametrize("name", ["no window", "vouched beyond the authority"])
def test_the_simulation_catches_a_broken_rule(name: str) -> None:
    """Within a few seeds, in a process of its own that imported the broken rule."""
    told = hunt(next(mutant for mutant in MUTANTS if mutant.name == name), seeds=5)
    assert told["seed"] is not None
    assert told["what"]
