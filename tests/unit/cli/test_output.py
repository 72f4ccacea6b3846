"""The door to the terminal: nothing that comes from a store or a topic is obeyed by it."""

from __future__ import annotations

import io
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli.output import Output, json_line, print_records, safe_text

EVIL = "a\x1b]0;owned\x07b\x1b[2J\rc\nd\u202ee\u200bf\x9b31mg\u2028h"


@given(st.text())
def test_no_character_that_a_terminal_obeys_gets_through(text: str) -> None:
    """Whatever the text: no control, no format, no direction, no line break."""
    shown = safe_text(text)
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=100))
def test_honest_text_is_shown_as_it_is(text: str) -> None:
    """Letters of any script, digits, signs."""
    assert safe_text(text) == text


def test_a_long_text_is_cut() -> None:
    """A megabyte in a cell would push everything else off the screen."""
    assert len(safe_text("x" * 1_000_000)) == 400
    assert safe_text("x" * 1_000_000).endswith("…")


@pytest.mark.parametrize("output", list(Output))
def test_every_form_of_output_is_harmless(output: Output) -> None:
    """Table, JSON and JSON lines."""
    stream = io.StringIO()
    print_records([{"entity": EVIL, "columns": [EVIL]}], output, ("entity", "columns"), to=stream)
    text = stream.getvalue().replace("\n", "")
    assert not {c for c in text if unicodedata.category(c) in {"Cc", "Cf"}}


def test_markup_is_not_interpreted() -> None:
    """Square brackets are text."""
    stream = io.StringIO()
    print_records([{"entity": "[bold red]x[/]"}], Output.TABLE, ("entity",), to=stream)
    assert "[bold red]x[/]" in stream.getvalue()


def test_json_keeps_what_it_escapes() -> None:
    """A program gets the very text."""
    assert json.loads(json_line({"x": EVIL})) == {"x": EVIL}
    assert json_line({"x": EVIL + "\x7f"}).isascii()


def test_a_table_shows_nothing_as_a_dash_and_counts_by_name() -> None:
    """For people."""
    stream = io.StringIO()
    record = {"none": None, "empty": [], "counts": {"stale": 2, "extra": 1}, "flag": True, "columns": ["a", "b"]}
    print_records([record], Output.TABLE, tuple(record), to=stream)
    assert stream.getvalue().splitlines()[1].split("  ") != []
    assert [cell.strip() for cell in stream.getvalue().splitlines()[1].split("  ") if cell.strip()] == [
        "-",
        "-",
        "stale 2, extra 1",
        "yes",
        "a, b",
    ]


def test_a_pipe_gets_lines_as_long_as_they_are() -> None:
    """Nothing is wrapped or cut to a width that is not there."""
    stream = io.StringIO()
    print_records([{f"c{n}": "x" * 60 for n in range(8)}], Output.TABLE, [f"c{n}" for n in range(8)], to=stream)
    assert len(stream.getvalue().splitlines()) == 2
