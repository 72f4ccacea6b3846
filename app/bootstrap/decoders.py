"""What reads the records of a topic: the decoder of single records, and the typed reader of blocks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from app.adapters.registry import Registry
from app.agents.rows import MakeTyped
from app.codec.envelope import Decoder, decoder_for
from app.codec.typed_reader import typed_reader_for
from app.core.store import Converter, StoreKind
from app.settings import Settings, StoreSettings

_AVRO_MARK: Final = b"\x00"
_SCHEMA_MARK: Final = b'{"schema"'


def decoder_of(settings: Settings, store: StoreSettings) -> Decoder:
    """Return the decoder of a store's change topics, by the converter that its settings name."""
    return decoder_for(store.kind, store.converter, settings.placeholder, _registry(settings))


def typed_readers_of(settings: Settings, store: StoreSettings) -> MakeTyped:
    """Return what makes the typed readers of a store's tables."""
    return partial(typed_reader_for, store.kind, store.converter, settings.placeholder, _registry(settings))


def decoder_by_bytes(settings: Settings, kind: StoreKind) -> Callable[[bytes | None, bytes | None], Decoder]:
    """Return what picks the decoder of a pipeline's record by its bytes: its converter is not ours to set."""
    made: dict[Converter, Decoder] = {}

    def pick(key: bytes | None, value: bytes | None) -> Decoder:
        first = (value or key or b"")[:16].lstrip()
        converter = Converter.JSON
        if first.startswith(_AVRO_MARK) and settings.registry_url is not None:
            converter = Converter.AVRO
        elif first.startswith(_SCHEMA_MARK):
            converter = Converter.JSON_SCHEMA
        if converter not in made:
            made[converter] = decoder_for(kind, converter, settings.placeholder, _registry(settings))
        return made[converter]

    return pick


def _registry(settings: Settings) -> Registry | None:
    # Asked from within the event loop: whoever holds the record asks again, not the client.
    return Registry(settings.registry_url, attempts=1) if settings.registry_url is not None else None
