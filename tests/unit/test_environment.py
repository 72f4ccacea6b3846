"""What the project's environment is made of."""

from __future__ import annotations

from typing import Any

from environment import _requirements


def test_a_group_brings_the_groups_that_it_includes() -> None:
    """As uv reads them: in place, however deep."""
    groups: dict[str, list[Any]] = {
        "dev": ["ruff", {"include-group": "bench"}, "pytest"],
        "bench": ["xxhash", {"include-group": "more"}],
        "more": ["orjson"],
    }
    assert _requirements(groups, "dev") == ["ruff", "xxhash", "orjson", "pytest"]
