"""What several of these tests share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient
from secantus import SecantusDBServer

from tests.contract.mongodb_process import Server, running_server
from tests.mongodb_server import DATABASE, SCHEMA, Admin
from tests.mongodb_server import mongodb_server as server_in_process


@pytest.fixture(scope="session")
def mongodb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a server of MongoDB's protocol for all tests together; each has databases of its own."""
    with running_server(tmp_path_factory.mktemp("mongodb")) as server:
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecantusDBServer]:
    """A server that asks for no logins."""
    with server_in_process(tmp_path_factory.mktemp("mongodb")) as running:
        yield running


@pytest.fixture
def admin(server: SecantusDBServer) -> Iterator[Admin]:
    """A client of it; nothing is there."""
    with MongoClient[dict[str, Any]](server.uri) as client:
        for database in (SCHEMA, DATABASE):
            client.drop_database(database)
        yield client
