"""Schemas of ours and of others in a registry that speaks Confluent's REST API.

An id is trusted only as long as it stands for the schema that it stood for: a registry that lost its memory gives old
ids to new schemas, and bytes would be read as something else. So every schema that is registered is read back and
compared by fingerprint, and an id that comes back with another schema is refused.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import fastavro
import fastavro.schema
import httpx

from app.codec.records import FIXED_IDS, FixedSchemas, Schema, SchemaBook
from app.codec.schema_files import schema_text
from app.core.errors import ContractViolation, Undecodable, Unready

_ATTEMPTS: Final = 5
_BACKOFF_FIRST_S: Final = 0.2
_BACKOFF_MAX_S: Final = 2.0
_TIMEOUT_S: Final = 5.0
_PREPARE_BACKOFF_MAX_S: Final = 15.0
_SCHEMA_BYTES_MAX: Final = 1_000_000
_HEADERS: Final = {"Accept": "application/vnd.schemaregistry.v1+json, application/json"}
_CONTENT: Final = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
_NOT_FOUND: Final = 404
_CONFLICT: Final = 409
_SERVER_FAULT: Final = 500
_FAULT: Final = 400

SUBJECTS: Final[dict[str, str]] = {
    "finding": "drifts",
    "repair_command": "repairs",
    "approval": "approvals",
    "outcome": "outcomes",
    "status": "status",
    "quarantine": "quarantine",
    "rehearsal": "rehearsals",
}
"""Our schemas by the dataset whose topic they are the values of: subjects are `<topic>-value`."""


def fingerprint(schema: str | dict[str, Any] | list[Any]) -> str:
    """Return the fingerprint of a schema's canonical form: what matters for reading, without docs and defaults."""
    parsed = fastavro.parse_schema(json.loads(schema) if isinstance(schema, str) else schema)
    canonical = fastavro.schema.to_parsing_canonical_form(parsed)
    return str(fastavro.schema.fingerprint(canonical, "sha256"))


class Registry:
    """A client of one registry. Thread-safe; what was once found is kept for the life of the process.

    A question is asked up to `attempts` times, with growing pauses, before it is `Unready`.
    """

    def __init__(
        self,
        url: str,
        *,
        attempts: int = _ATTEMPTS,
        transport: httpx.BaseTransport | None = None,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url = url.rstrip("/")
        # No redirects: a registry does not send anybody elsewhere.
        self._client = httpx.Client(
            base_url=self._url, timeout=_TIMEOUT_S, headers=_HEADERS, follow_redirects=False, transport=transport
        )
        self._attempts = attempts
        self._wait = wait
        self._lock = threading.Lock()
        self._text_by_id: dict[int, str] = {}
        self._parsed_by_id: dict[int, Schema] = {}

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()

    def _asked(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """Ask until the registry answers; `Unready` if it does not."""
        fault = ""
        for attempt in range(self._attempts):
            if attempt:
                self._wait(min(_BACKOFF_MAX_S, _BACKOFF_FIRST_S * 2 ** (attempt - 1)))
            try:
                answer = self._client.request(
                    method, path, content=None if body is None else json.dumps(body), headers=_CONTENT if body else None
                )
            except httpx.HTTPError as error:
                fault = f"{type(error).__name__}: {error}"
                continue
            if answer.status_code < _SERVER_FAULT:
                return answer
            fault = f"HTTP {answer.status_code}"
        raise Unready(
            f"the schema registry does not answer ({fault})",
            where=self._url,
            hint="is it up? it is asked again; what is known already goes on",
        )

    def _written(self, method: str, path: str, body: dict[str, Any]) -> httpx.Response:
        """Ask for a change, and once more after a conflict: of two processes that begin together, one is told of it."""
        answer = self._asked(method, path, body)
        if answer.status_code == _CONFLICT:
            self._wait(_BACKOFF_FIRST_S)
            answer = self._asked(method, path, body)
        return answer

    def _said(self, answer: httpx.Response) -> dict[str, Any]:
        try:
            said = answer.json() if len(answer.content) <= _SCHEMA_BYTES_MAX else None
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise Unready(
                f"the schema registry answers HTTP {answer.status_code} without JSON",
                where=self._url,
                hint="does the URL end in the Confluent-compatible path, such as /apis/ccompat/v7?",
            )
        return said

    def register(self, subject: str, text: str) -> int:
        """Register a schema under a subject and return its id; the same schema has the same id."""
        answer = self._written("POST", f"/subjects/{subject}/versions", {"schema": text})
        said = self._said(answer)
        if answer.status_code == _CONFLICT:
            raise ContractViolation(
                f"the schema is not compatible with the versions of {subject}: {said.get('message', '')}",
                where=self._url,
                hint="records that are out there could not be read any more; add fields with defaults only",
            )
        if answer.status_code >= _FAULT or not isinstance(said.get("id"), int):
            raise ContractViolation(
                f"the registry refuses the schema of {subject}: HTTP {answer.status_code} {said.get('message', '')}",
                where=self._url,
                hint="may this user write to the registry?",
            )
        schema_id = int(said["id"])
        if fingerprint(self.text_of(schema_id)) != fingerprint(text):
            raise ContractViolation(
                f"id {schema_id} of {subject} stands for another schema",
                where=self._url,
                hint="did the registry lose its memory? records would be read as something else",
            )
        return schema_id

    def require_backward(self, subject: str) -> None:
        """Have the registry itself refuse a version of a subject that could not read older records."""
        answer = self._written("PUT", f"/config/{subject}", {"compatibility": "BACKWARD_TRANSITIVE"})
        if answer.status_code >= _FAULT:
            raise ContractViolation(
                f"the registry does not guard {subject}: HTTP {answer.status_code}",
                where=self._url,
                hint="may this user set a subject's compatibility?",
            )

    def text_of(self, schema_id: int) -> str:
        """Return the text of a schema; `Undecodable` if no schema has that id."""
        with self._lock:
            known = self._text_by_id.get(schema_id)
        if known is not None:
            return known
        text = self._asked_text(schema_id)
        with self._lock:
            return self._text_by_id.setdefault(schema_id, text)

    def _asked_text(self, schema_id: int) -> str:
        answer = self._asked("GET", f"/schemas/ids/{schema_id}")
        if answer.status_code == _NOT_FOUND:
            raise Undecodable(
                "unknown_schema",
                f"the registry knows no schema {schema_id}",
                where=self._url,
                hint="was the record written with another registry?",
            )
        text = self._said(answer).get("schema")
        if answer.status_code >= _FAULT or not isinstance(text, str):
            raise Unready(
                f"the registry does not tell schema {schema_id}: HTTP {answer.status_code}",
                where=self._url,
                hint="may this user read the registry?",
            )
        return text

    def writer_schema(self, schema_id: int) -> Schema:
        """Return a schema, parsed; `Undecodable` if there is none or it is no schema of Avro."""
        with self._lock:
            known = self._parsed_by_id.get(schema_id)
        if known is not None:
            return known
        text = self.text_of(schema_id)
        try:
            parsed = fastavro.parse_schema(json.loads(text))
        except Exception as fault:
            # fastavro raises whatever it stumbles over.
            raise Undecodable(
                "unknown_schema",
                f"schema {schema_id} of the registry is none of Avro ({type(fault).__name__})",
                where=self._url,
                hint="is another kind of schema (JSON, Protobuf) registered for this topic?",
            ) from fault
        with self._lock:
            return self._parsed_by_id.setdefault(schema_id, parsed)

    def schema(self, schema_id: int) -> object:
        """Return a schema as parsed JSON, for decoders of others' records; `KeyError` if there is none."""
        try:
            return json.loads(self.text_of(schema_id))
        except (Undecodable, ValueError):
            raise KeyError(schema_id) from None

    def check_again(self, schema_id: int) -> None:
        """Compare what the registry says of an id now with what it said before; `ContractViolation` if it changed."""
        before = self.text_of(schema_id)
        if fingerprint(self._asked_text(schema_id)) != fingerprint(before):
            raise ContractViolation(
                f"id {schema_id} stands for another schema than before",
                where=self._url,
                hint="did the registry lose its memory? stop, and restore it",
            )


class RegisteredSchemas:
    """The book of a deployment with a registry: our schemas are registered when they are first written."""

    def __init__(self, registry: Registry, deployment: str) -> None:
        self._registry = registry
        self._deployment = deployment
        self._ids: dict[str, int] = {}

    def id_of(self, name: str) -> int:
        """Return the id under which our schema is written; registers it once."""
        known = self._ids.get(name)
        if known is None:
            subject = f"{self._deployment}.{SUBJECTS[name]}.v1-value"
            known = self._registry.register(subject, schema_text(f"{name}.avsc"))
            self._registry.require_backward(subject)
            self._ids[name] = known
        return known

    def writer_schema(self, schema_id: int) -> Schema:
        """Return the schema behind an id."""
        return self._registry.writer_schema(schema_id)


def schema_book(url: str | None, deployment: str) -> SchemaBook:
    """Return the deployment's book: a registry's where there is one, else the fixed one."""
    return FixedSchemas() if url is None else RegisteredSchemas(Registry(url), deployment)


def prepared_book(
    url: str | None,
    deployment: str,
    names: Iterable[str],
    tell: Callable[[Unready, float], None],
    wait: Callable[[float], None] = time.sleep,
) -> SchemaBook:
    """Return the book with these schemas registered, so that a registry that dies later stops no writer.

    Waits for a registry that does not answer, telling each fault and the seconds until it is asked again.
    """
    book = schema_book(url, deployment)
    wanted = list(names)
    faults = 0
    while True:
        try:
            for name in wanted:
                book.id_of(name)
        except Unready as fault:
            again_in_s = min(_PREPARE_BACKOFF_MAX_S, float(2**faults))
            tell(fault, again_in_s)
            wait(again_in_s)
            faults = min(faults + 1, 10)
        else:
            return book


if set(SUBJECTS) != set(FIXED_IDS):
    raise ImportError("every schema of ours has a subject and a fixed id")
