#!/usr/bin/env python3
"""Measure what decodes, digests and packs a row against what else could.

    python tests/benchmarks/choices_bench.py [--rows 2000] [--rounds 15] [--json FILE]

Told are microseconds of CPU per row, the least of the rounds; all choices of one question run in turns over the same
rows, so that their order holds on a busy machine. `*` marks what Driftline does. Not a test: machines differ.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import hmac
import io
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import fastavro
import msgspec
import orjson
import xxhash

from app.bench.load import Load, Spread
from app.codec.blocks import pack, unpack
from app.core.digest import DIGEST_BYTES
from app.core.observation import PRESENT, RAW_KEY_BYTES, Link, RowBlock
from app.core.position import PLACE_BYTES
from app.core.store import Converter, StoreKind
from tests.benchmarks.ingest_hop import KEY, KEYS, Hop, _cpu_us
from tests.benchmarks.traffic import VALUE_ID, Schemas

Choices = dict[str, Callable[[], object]]
KIND = StoreKind.POSTGRES
FRAME_BYTES = 5
CANONICAL_ROW = bytes(range(64))
"""As long as five encoded fields of the bench's rows are together."""


def decoders(converter: Converter, columns: int, rows: int) -> Choices:
    """Return ways to come from the bytes of a change to the columns that are compared."""
    load = Load(converter, columns, KEYS, Spread.UNIFORM)
    hop = Hop(KIND, load, rows)
    values = [record.value for record in hop.records if record.value is not None]
    typed: Any = hop.rows._typed
    ours: Choices = {"* only the columns that are asked for": lambda: typed._unpack(values)}
    if converter is Converter.JSON:
        of_library: dict[str, Callable[[Any], object]] = {
            "json": json.loads,
            "orjson": orjson.loads,
            "msgspec, untyped": msgspec.json.Decoder().decode,
        }
        return ours | {name: partial(_each, decode, values) for name, decode in of_library.items()}
    declared: Any = Schemas(KIND, load).schema(VALUE_ID)
    schema = fastavro.parse_schema(declared)

    def general(value: bytes) -> object:
        return fastavro.schemaless_reader(io.BytesIO(value[FRAME_BYTES:]), schema, None)

    return ours | {"fastavro": partial(_each, general, values)}


def digests(rows: int) -> Choices:
    """Return ways to digest a row's canonical bytes. Without a key, who writes rows can make two with one digest."""
    encoded = [CANONICAL_ROW + number.to_bytes(4, "big") for number in range(rows)]
    keyed = hashlib.blake2b(digest_size=16, key=KEY)
    hashed = hmac.new(KEY, digestmod="sha256")

    def copied(of: Any, value: bytes) -> bytes:  # noqa: ANN401 - a hash or an HMAC
        digest = of.copy()
        digest.update(value)
        return bytes(digest.digest())

    ways: dict[str, Callable[[bytes], bytes]] = {
        "* BLAKE2b of 128 bits, keyed, from a prepared state": partial(copied, keyed),
        "BLAKE2b of 128 bits, keyed anew": lambda value: hashlib.blake2b(value, digest_size=16, key=KEY).digest(),
        "BLAKE2s of 128 bits, keyed anew": lambda value: hashlib.blake2s(value, digest_size=16, key=KEY).digest(),
        "HMAC-SHA256 from a prepared state": partial(copied, hashed),
        "SHA-256, no key": lambda value: hashlib.sha256(value).digest(),
        "XXH3 of 128 bits, no key": xxhash.xxh3_128_digest,
    }
    return {name: partial(_each, way, encoded) for name, way in ways.items()}


def packings(rows: int) -> Choices:
    """Return ways to bring a block of rows to bytes and back to columns."""
    keys = [number.to_bytes(9, "big") for number in range(rows)]
    groups = [hashlib.blake2b(key, digest_size=DIGEST_BYTES).digest() for key in keys]
    place, raw, flags = bytes(PLACE_BYTES), bytes(RAW_KEY_BYTES), bytes([PRESENT])
    block = RowBlock(
        7,
        0,
        Link("topic", 0, 0, rows),
        1,
        keys,
        raw * rows,
        flags * rows,
        place * rows,
        list(range(rows)),
        list(range(rows)),
        b"".join(groups),
    )
    each = [(key, raw, 1, place, n, n, digest) for n, (key, digest) in enumerate(zip(keys, groups, strict=True))]
    as_text = [(k.hex(), r.hex(), f, p.hex(), at, t, d.hex()) for k, r, f, p, at, t, d in each]
    message = msgspec.msgpack

    return {
        "* MessagePack by columns, checked when read": lambda: unpack(pack(block)),
        "MessagePack row by row": lambda: list(zip(*message.decode(message.encode(each)), strict=True)),
        "JSON row by row (bytes as hex, which alone is not counted)": lambda: list(
            zip(*orjson.loads(orjson.dumps(as_text)), strict=True)
        ),
        "one MessagePack record per row": lambda: [message.decode(message.encode(row)) for row in each],
    }


def _each(does: Callable[[Any], object], of: list[Any]) -> None:
    for one in of:
        does(one)


def measure(choices: Choices, rows: int, rounds: int) -> dict[str, float]:
    """Return the least time of each choice."""
    found: dict[str, list[float]] = {name: [] for name in choices}
    for _ in range(rounds):
        for name, does in choices.items():
            found[name].append(_cpu_us(does, rows))
    return {name: round(min(times), 2) for name, times in found.items()}


def main() -> None:
    """Enter here from the shell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    gc.set_threshold(200_000, 50, 1_000)  # as the worker sets it
    questions = {
        f"decode {converter.value}, {columns} columns": decoders(converter, columns, arguments.rows)
        for converter in (Converter.JSON, Converter.AVRO)
        for columns in (10, 40)
    }
    questions |= {"digest of a row": digests(arguments.rows), "pack and unpack a block": packings(arguments.rows)}
    told = {}
    for question, choices in questions.items():
        told[question] = measure(choices, arguments.rows, arguments.rounds)
        sys.stdout.write(f"{question}\n" + "".join(f"  {n:60} {us:8.2f}\n" for n, us in told[question].items()))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
