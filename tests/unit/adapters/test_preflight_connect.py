"""What Connect is asked about exactly-once support, against a server that answers as Connect does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from app.adapters.preflight_connect import read_connect, refuse_at_least_once
from app.core.errors import ContractViolation, Unready
from app.settings import ConnectSettings

CLASS = "io.debezium.connector.postgresql.PostgresConnector"
REFUSAL = "This worker does not have exactly-once source support enabled."


class FakeConnect(BaseHTTPRequestHandler):
    """Connect's REST API over the configurations in `configs`; its worker may lack exactly-once support."""

    configs: ClassVar[dict[str, dict[str, str]]] = {}
    enabled: ClassVar[bool] = True
    asked: ClassVar[list[dict[str, str]]] = []

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Keep quiet."""

    def _answer(self, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(404 if document is None else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        """Tell of connectors."""
        parts = self.path.strip("/").split("/")
        if parts == ["connectors"]:
            self._answer(sorted(self.configs))
        elif parts[1] not in self.configs:
            self._answer(None)
        elif parts[2] == "config":
            self._answer(self.configs[parts[1]])
        else:
            self._answer({"connector": {"state": "RUNNING"}, "tasks": [{"state": "RUNNING"}]})

    def do_PUT(self) -> None:
        """Check a configuration."""
        assert self.path == f"/connector-plugins/{CLASS}/config/validate"
        config: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(config)
        refused = config.get("exactly.once.support") == "required" and not self.enabled
        errors = [REFUSAL] if refused else []
        self._answer({"configs": [{"value": {"name": "exactly.once.support", "errors": errors}}]})


@pytest.fixture
def connect() -> Iterator[ConnectSettings]:
    """Serve a Connect with one connector that requires exactly-once support and one that does not."""
    FakeConnect.enabled = True
    FakeConnect.asked.clear()
    FakeConnect.configs = {
        "strict": {"connector.class": CLASS, "exactly.once.support": "required", "database.hostname": "away"},
        "lax": {"connector.class": CLASS, "database.hostname": "away"},
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeConnect)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield ConnectSettings(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_worker_refuses_a_connector_that_may_deliver_twice(connect: ConnectSettings) -> None:
    """It is named, with what to do; one that does not exist yet delivers nothing."""
    refuse_at_least_once(connect, ["strict", "not there"])
    with pytest.raises(ContractViolation, match="lax: exactly") as refused:
        refuse_at_least_once(connect, ["strict", "lax"])
    assert "required" in refused.value.hint


def test_a_connect_that_is_away_is_no_pass(connect: ConnectSettings) -> None:
    """It says so, and does not look like a good answer."""
    away = ConnectSettings("http://127.0.0.1:1")
    with pytest.raises(Unready, match="Connect cannot be asked"):
        refuse_at_least_once(away, ["strict"])
    refuse_at_least_once(connect, ["strict"])


@pytest.mark.parametrize(("enabled", "refusal"), [(True, ""), (False, REFUSAL)])
def test_check_asks_connect_whether_its_worker_delivers_exactly_once(
    connect: ConnectSettings,
    enabled: bool,  # noqa: FBT001 - a case
    refusal: str,
) -> None:
    """A worker's setting that was taken back shows in no connector's configuration."""
    FakeConnect.enabled = enabled
    found, is_open = read_connect(connect, ["strict", "not there"])
    assert is_open
    assert list(found) == ["strict"]
    assert found["strict"].requires_exactly_once
    assert found["strict"].exactly_once_refusal == refusal


def test_the_database_is_not_tried_by_asking(connect: ConnectSettings) -> None:
    """It may be away, and Connect would wait for it."""
    read_connect(connect, ["strict"])
    (asked,) = FakeConnect.asked
    assert "database.hostname" not in asked
    assert asked["exactly.once.support"] == "required"
