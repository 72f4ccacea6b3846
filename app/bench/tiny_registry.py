"""A schema registry in memory, for a bench that needs Kafka and nothing else: as much of Confluent's API as is asked.

`POST /subjects/NAME/versions` gives a schema its id, `GET /schemas/ids/N` gives it back, `PUT /config/NAME` says yes.
"""

from __future__ import annotations

import json
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class TinyRegistry:
    """Serves on a free port of loopback until it is closed."""

    def __init__(self) -> None:
        class Handler(_Handler):
            registry = self

        self._texts: list[str] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def register(self, text: str) -> int:
        """Return the id of a schema: the same text has the same id."""
        with self._lock:
            if text not in self._texts:
                self._texts.append(text)
            return self._texts.index(text) + 1

    def text_of(self, schema_id: int) -> str | None:
        """Return the schema of an id, None for none."""
        with self._lock:
            return self._texts[schema_id - 1] if 0 < schema_id <= len(self._texts) else None

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    registry: TinyRegistry

    def do_GET(self) -> None:
        number = self.path.rpartition("/")[2]
        text = self.registry.text_of(int(number)) if number.isdigit() else None
        if text is None:
            self._answer(HTTPStatus.NOT_FOUND, {"error_code": 40403, "message": "no such schema"})
        else:
            self._answer(HTTPStatus.OK, {"schema": text})

    def do_POST(self) -> None:
        self._answer(HTTPStatus.OK, {"id": self.registry.register(self._asked()["schema"])})

    def do_PUT(self) -> None:
        self._answer(HTTPStatus.OK, self._asked())

    def _asked(self) -> dict[str, Any]:
        asked: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        return asked

    def _answer(self, status: HTTPStatus, told: dict[str, Any]) -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""
