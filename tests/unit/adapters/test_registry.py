"""The registry client asks again, tells what to do, keeps what it knows, and refuses an id that changed its mind."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from app.adapters.registry import SUBJECTS, RegisteredSchemas, Registry, fingerprint, prepared_book
from app.codec.records import FIXED_IDS
from app.codec.schema_files import schema_text
from app.core.errors import ContractViolation, DriftlineError, Undecodable, Unready

URL = "http://registry.test/apis/ccompat/v7"
OTHER = json.dumps({"type": "record", "name": "Other", "fields": []})


class FakeRegistry:
    """A registry in memory; `broken` answers come first."""

    def __init__(self, *broken: Callable[[httpx.Request], httpx.Response]) -> None:
        self.schemas: list[str] = []
        self.asked: list[str] = []
        self.broken = list(broken)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        path = request.url.path.removeprefix("/apis/ccompat/v7")
        self.asked.append(f"{request.method} {path}")
        if self.broken:
            return self.broken.pop(0)(request)
        if request.method == "POST":
            text = json.loads(request.content)["schema"]
            if text not in self.schemas:
                self.schemas.append(text)
            return httpx.Response(200, json={"id": self.schemas.index(text) + 1})
        if path.startswith("/schemas/ids/"):
            number = int(path.rpartition("/")[2])
            if number > len(self.schemas):
                return httpx.Response(404, json={"error_code": 40403, "message": "not found"})
            return httpx.Response(200, json={"schema": self.schemas[number - 1]})
        return httpx.Response(200, json={"compatibility": "BACKWARD_TRANSITIVE"})


def client(fake: FakeRegistry, waits: list[float] | None = None) -> Registry:
    """Return a client of a registry in memory that never sleeps."""
    kept: list[float] = [] if waits is None else waits
    return Registry(URL, transport=httpx.MockTransport(fake), wait=kept.append)


def refused(_: httpx.Request) -> httpx.Response:
    """Be down."""
    raise httpx.ConnectError("connection refused")


def test_a_schema_is_registered_under_its_topics_subject_and_guarded() -> None:
    """`<topic>-value`, and from then on the registry refuses what could not read older records."""
    fake = FakeRegistry()
    book = RegisteredSchemas(client(fake), "shop")
    assert book.id_of("finding") == 1
    assert fake.asked == [
        "POST /subjects/shop.drifts.v1-value/versions",
        "GET /schemas/ids/1",
        "PUT /config/shop.drifts.v1-value",
    ]


def test_what_is_known_is_not_asked_again() -> None:
    """A registry that goes down later stops nothing that was known."""
    fake = FakeRegistry()
    book = RegisteredSchemas(client(fake), "shop")
    number = book.id_of("finding")
    book.writer_schema(number)
    asked = len(fake.asked)
    assert book.id_of("finding") == number
    book.writer_schema(number)
    assert len(fake.asked) == asked


def test_a_writer_waits_at_its_start_for_a_registry_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each fault is told with the time until the next try; then all is registered, and the registry may die."""
    fake = FakeRegistry(*[refused] * 10)
    monkeypatch.setattr("app.adapters.registry.Registry", lambda url: client(fake) if url == URL else None)
    told: list[float] = []
    waited: list[float] = []
    book = prepared_book(
        URL, "shop", ["outcome", "status"], lambda _, again_in_s: told.append(again_in_s), waited.append
    )
    assert told == waited == [1.0, 2.0]
    fake.broken = [refused] * 99
    assert (book.id_of("outcome"), book.id_of("status")) == (1, 2)
    assert book.writer_schema(1)


def test_without_a_registry_there_is_nothing_to_wait_for() -> None:
    """The ids are constants."""
    book = prepared_book(None, "shop", FIXED_IDS, lambda *_: pytest.fail("nothing to wait for"))
    assert book.id_of("finding") == FIXED_IDS["finding"]


def test_every_schema_of_ours_has_a_subject() -> None:
    """None is forgotten when one is added."""
    assert set(SUBJECTS) == set(FIXED_IDS)


@pytest.mark.parametrize("broken", [refused, lambda _: httpx.Response(503)])
def test_a_registry_that_stumbles_is_asked_again_with_growing_waits(
    broken: Callable[[httpx.Request], httpx.Response],
) -> None:
    """Twice down, then up: nothing is lost."""
    waits: list[float] = []
    registry = client(FakeRegistry(broken, broken), waits)
    assert registry.register("s", OTHER) == 1
    assert waits == [0.2, 0.4]


def conflict(_: httpx.Request) -> httpx.Response:
    """Be in the middle of the same change for somebody else."""
    return httpx.Response(409, json={"message": "conflict"})


def test_two_processes_that_begin_together_are_no_fault() -> None:
    """A conflict is asked about again: the other process has made the same change by then."""
    registry = client(FakeRegistry(conflict))
    registry.require_backward("s")
    assert client(FakeRegistry(conflict)).register("s", OTHER) == 1
    with pytest.raises(ContractViolation, match="does not guard s: HTTP 409"):
        client(FakeRegistry(conflict, conflict)).require_backward("s")


def test_a_dead_registry_is_unready_and_says_where_and_what() -> None:
    """The caller holds and tries again."""
    registry = client(FakeRegistry(*[refused] * 9))
    with pytest.raises(Unready, match=r"registry\.test.*does not answer.*is it up"):
        registry.register("s", OTHER)


def test_an_address_that_is_no_registry_hints_at_the_path() -> None:
    """HTML instead of JSON is what a wrong path answers."""
    registry = client(FakeRegistry(lambda _: httpx.Response(200, text="<html>")))
    with pytest.raises(Unready, match="ccompat"):
        registry.register("s", OTHER)


def test_an_incompatible_schema_is_refused_with_what_to_do() -> None:
    """409 is a contract violation: start is refused."""
    registry = client(FakeRegistry(conflict, conflict))
    with pytest.raises(ContractViolation, match="add fields with defaults"):
        registry.register("s", OTHER)


def test_an_unknown_id_is_undecodable() -> None:
    """The record goes to quarantine, the partition goes on."""
    with pytest.raises(Undecodable) as fault:
        client(FakeRegistry()).writer_schema(12)
    assert fault.value.reason == "unknown_schema"


def test_an_unknown_id_is_a_key_error_for_decoders_of_others_records() -> None:
    """That is what their protocol says."""
    with pytest.raises(KeyError):
        client(FakeRegistry()).schema(12)


def test_a_schema_that_is_not_avro_is_undecodable() -> None:
    """A registry holds other kinds too."""
    fake = FakeRegistry()
    fake.schemas.append('{"type": "no such type"}')
    with pytest.raises(Undecodable, match="none of Avro"):
        client(fake).writer_schema(1)


def test_an_id_that_stands_for_another_schema_at_registration_is_refused() -> None:
    """The registry answered with an id whose schema is not the one that was sent."""

    def wrong_id(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"id": 1})

    fake = FakeRegistry(wrong_id)
    fake.schemas.append(OTHER)
    with pytest.raises(ContractViolation, match="another schema"):
        client(fake).register("s", schema_text("finding.avsc"))


def test_an_id_that_changed_its_meaning_is_refused() -> None:
    """A registry that lost its memory gives old ids to new schemas."""
    fake = FakeRegistry()
    registry = client(fake)
    number = registry.register("s", OTHER)
    registry.check_again(number)
    fake.schemas[0] = schema_text("status.avsc")
    with pytest.raises(ContractViolation, match="another schema than before"):
        registry.check_again(number)


def test_a_redirect_is_not_followed() -> None:
    """A registry does not send anybody elsewhere."""
    fake = FakeRegistry(lambda _: httpx.Response(302, headers={"location": "http://169.254.169.254/"}))
    with pytest.raises(DriftlineError):
        client(fake).register("s", OTHER)
    assert len(fake.asked) == 1


def test_docs_do_not_change_a_fingerprint_and_fields_do() -> None:
    """What matters for reading is compared."""
    plain = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]}
    told = {"type": "record", "name": "R", "doc": "told", "fields": [{"name": "a", "type": "int", "doc": "told"}]}
    other = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "long"}]}
    assert fingerprint(plain) == fingerprint(told) != fingerprint(other)
