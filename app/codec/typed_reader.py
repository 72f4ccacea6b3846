"""Puts a typed reader together for a kind of store and its connector's converter."""

from __future__ import annotations

from collections.abc import Sequence

from app.codec.avro_envelope import SchemaSource
from app.codec.placeholder import Placeholder
from app.codec.typed import ColumnReader, TypedReader, Unpack, UnpackKeys, shapes_of
from app.codec.typed_avro import AvroKeys, AvroUnpack
from app.codec.typed_json import JsonUnpack, unpack_json_keys
from app.core.store import Converter, StoreKind


def typed_reader_for(
    kind: StoreKind,
    converter: Converter,
    placeholder: str,
    schema_source: SchemaSource | None,
    key: Sequence[str],
    columns: Sequence[str],
) -> TypedReader | None:
    """Return the typed reader of a table's records, None where records of that kind have no typed form.

    `key` are the columns of the contract's key, and the first of `columns`, which are all that is asked for.
    """
    shapes = shapes_of(kind, key, columns)
    if shapes is None:
        return None
    unpack: Unpack
    keys: UnpackKeys
    if converter is Converter.JSON:
        unpack, keys = JsonUnpack(shapes), unpack_json_keys
    elif converter is Converter.AVRO and schema_source is not None:
        unpack, keys = AvroUnpack(schema_source, shapes, key, columns), AvroKeys(schema_source)
    else:
        return None
    # Only a JSON record shows by its bytes whether the placeholder can be in it.
    return ColumnReader(kind, key, columns, unpack, Placeholder(placeholder), keys, scan=converter is Converter.JSON)
