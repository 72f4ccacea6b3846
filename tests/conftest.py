"""Hypothesis without a limit of time per example, for what is slow on a busy machine is not wrong; and this run's seed.

`DRIFTLINE_SEED` is where the simulation's seeds begin: a new one each time, printed, unless it is given.
"""

from __future__ import annotations

import gc
import os
import secrets
from collections.abc import Generator

import pytest
from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

os.environ.setdefault("DRIFTLINE_SEED", str(secrets.randbelow(2**31)))


def pytest_report_header() -> str:
    """Print the seed: processes that run tests beside this one have it from the environment."""
    return f"simulated from DRIFTLINE_SEED={os.environ['DRIFTLINE_SEED']}"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Leave out of every later search for garbage what lives as long as the run: all modules and all tests.

    A simulated world has garbage looked for at its end, as a few others do; with these it takes longer than the world.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


COLLECTED = pytest.StashKey[frozenset[str]]()
"""The ids of all tests that were collected, those too that are not to be run."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep what was collected before any of it is deselected."""
    config.stash[COLLECTED] = frozenset(item.nodeid for item in items)
