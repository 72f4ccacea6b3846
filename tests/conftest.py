"""Hypothesis without a limit of time per example, for what is slow on a busy machine is not wrong; and this run's seed.

`DRIFTLINE_SEED` is where the simulation's seeds begin: a new one each time, printed, unless it is given.
"""

from __future__ import annotations

import os
import secrets

import pytest
from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

os.environ.setdefault("DRIFTLINE_SEED", str(secrets.randbelow(2**31)))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep what shares the test stack in one process; a second one runs what brings up a system of its own."""
    for item in items:
        if item.get_closest_marker("stack") and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group("test stack"))


def pytest_report_header() -> str:
    """Print the seed: processes that run tests beside this one have it from the environment."""
    return f"simulated from DRIFTLINE_SEED={os.environ['DRIFTLINE_SEED']}"
