"""A tiny HTTP server for machines: `/metrics`, `/livez`, `/readyz`. On loopback unless settings say otherwise.

`/livez` says that the process turns and depends on nothing outside: a restart mends no dead broker. `/readyz` says
that it does its work. `?verbose` lists the checks for people; machines read the status code.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import urlsplit

from app.core.errors import ContractViolation

Checks = Mapping[str, bool]
"""What was looked at, and whether it is well."""

_REQUEST_S: Final = 5.0
_TEXT: Final = "text/plain; charset=utf-8"
_METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Health:
    """What the server asks when it is asked. All three are called from its own threads and must not wait."""

    live: Callable[[], Checks]
    ready: Callable[[], Checks]
    metrics_page: Callable[[], bytes]


class HealthServer:
    """Serves one process's health until it is closed."""

    def __init__(self, host: str, port: int, health: Health) -> None:
        class Handler(_Handler):
            asked = health

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as fault:
            raise ContractViolation(
                f"health and metrics cannot be served: {fault.strerror}",
                where=f"{host}:{port}",
                hint="is another process on this port? choose another http_port",
            ) from fault
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on; the one it was given, unless that was 0."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(_REQUEST_S)


class _Handler(BaseHTTPRequestHandler):
    asked: Health
    timeout = _REQUEST_S
    server_version = "driftline"
    sys_version = ""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/metrics":
            self._answer(HTTPStatus.OK, _METRICS, self.asked.metrics_page())
        elif parts.path == "/livez":
            self._checked(self.asked.live(), is_verbose=parts.query == "verbose")
        elif parts.path == "/readyz":
            self._checked(self.asked.ready(), is_verbose=parts.query == "verbose")
        else:
            self._answer(HTTPStatus.NOT_FOUND, _TEXT, b"there are /metrics, /livez and /readyz\n")

    def _checked(self, checks: Checks, *, is_verbose: bool) -> None:
        is_well = all(checks.values())
        lines = [f"[{'+' if well else '-'}] {name}" for name, well in checks.items()] if is_verbose else []
        body = "\n".join([*lines, "ok" if is_well else "not ok"]) + "\n"
        self._answer(HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, body.encode())

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing: what a stranger asked for is not for our log."""
