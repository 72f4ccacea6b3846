"""What cannot be is told before a stack is brought up: a drill takes minutes until it would notice."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest
from arguments import count, file_to_write, positive, seconds, some

WRONG: list[tuple[Callable[[str], object], str]] = [
    *((positive, text) for text in ("0", "-1", "nan", "inf", "x")),
    *((seconds, text) for text in ("-0.1", "nan", "inf")),
    *((some, text) for text in ("0", "-1", "1.5")),
    *((count, text) for text in ("-1", "")),
]


@pytest.mark.parametrize(("kind", "text"), WRONG)
def test_a_number_that_cannot_be_is_refused(kind: Callable[[str], object], text: str) -> None:
    """`argparse` tells either error with the option's name."""
    with pytest.raises((argparse.ArgumentTypeError, ValueError)):
        kind(text)


def test_what_can_be_is_taken() -> None:
    """The bounds themselves are in."""
    assert (positive("0.5"), seconds("0"), some("1"), count("0")) == (0.5, 0.0, 1, 0)


def test_a_file_needs_a_folder(tmp_path: Path) -> None:
    """The result of an hour is not lost over a slip in a path."""
    assert file_to_write(str(tmp_path / "result.json")) == tmp_path / "result.json"
    for wrong in (tmp_path, tmp_path / "no such folder" / "result.json"):
        with pytest.raises(argparse.ArgumentTypeError):
            file_to_write(str(wrong))
