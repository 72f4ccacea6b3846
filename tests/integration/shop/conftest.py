"""One running shop for damages, disturbances and rereading, in this order: each leaves it as the next can use it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from demo_parts.running import Running

from tests.integration.running_demo import running_demo


@pytest.fixture(scope="package")
def running() -> Iterator[Running]:
    """Bring the whole system up once; to do so takes longer than most of what is tried on it."""
    with running_demo("shop") as system:
        yield system
