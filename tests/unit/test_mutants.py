"""Mutants of the core: each still breaks what is there, and the simulation catches some of them while we watch."""

from __future__ import annotations

import ast

import pytest
from mutant_parts.broken import NotThere, broken_source
from mutant_parts.catalogue import MUTANTS, Mutant, Rule
from mutant_parts.main import hunt


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_replaces_what_is_there(mutant: Mutant) -> None:
    """A rule that was rewritten takes its mutant along; what comes out is still Python."""
    ast.parse(broken_source(mutant))


def test_every_group_of_rules_has_its_mutants_and_every_name_is_its_own() -> None:
    """A table with two rows of one name would hide one."""
    assert {mutant.rule for mutant in MUTANTS} == set(Rule)
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_what_is_not_there_is_said() -> None:
    """A mutant that changes nothing would get away for the wrong reason."""
    with pytest.raises(NotThere, match="0 times"):
        broken_source(Mutant("nothing", Rule.CHAINS, "app.core.verdict", "", "no such text", ""))


@pytest.mark.parametrize("name", ["no window", "vouched beyond the authority"])
def test_the_simulation_catches_a_broken_rule(name: str) -> None:
    """Within a few seeds, in a process of its own that imported the broken rule."""
    told = hunt(next(mutant for mutant in MUTANTS if mutant.name == name), seeds=5)
    assert told["seed"] is not None
    assert told["what"]
