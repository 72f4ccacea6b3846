"""What several of these tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.mongodb_process import Server, running_server


@pytest.fixture(scope="session")
def mongodb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a server of MongoDB's protocol for all tests together; each has databases of its own."""
    with running_server(tmp_path_factory.mktemp("mongodb")) as server:
        yield server
