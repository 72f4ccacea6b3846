"""Quix Streams with a state per key and its changelog, tuned: large fetches, large batches, long checkpoints."""

from __future__ import annotations

import gc
from typing import Any, Final

from quixstreams import Application, State

from app.bench.contenders.work import GC_THRESHOLD, Asked, done, entry_of, started

_KEY: Final = b"digest"


def main(asked: Asked) -> None:
    """Run until every event is in; the last checkpoint is written when the run ends."""
    application = Application(
        broker_address=asked.bootstrap,
        consumer_group=asked.name,
        auto_offset_reset="earliest",
        state_dir=asked.folder,
        commit_interval=10.0,
        loglevel="WARNING",
        consumer_extra_config={
            "fetch.message.max.bytes": 4 * 1024 * 1024,
            "fetch.queue.backoff.ms": 5,
            "queued.min.messages": 200_000,
        },
        producer_extra_config={
            "linger.ms": 50,
            "batch.size": 1_000_000,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 1_000_000,
        },
    )
    topic = application.topic(asked.topic, key_deserializer="bytes", value_deserializer="bytes")
    is_running = False

    def fold(value: bytes, state: State) -> None:
        nonlocal is_running
        if not is_running:
            is_running = True
            started()
        entry = entry_of(value)
        held = state.get_bytes(_KEY)
        if held is None or held < entry:
            state.set_bytes(_KEY, entry)

    frame: Any = application.dataframe(topic)
    frame.update(fold, stateful=True)
    application.run(count=asked.changes, collect=False)
    done()


if __name__ == "__main__":
    gc.set_threshold(*GC_THRESHOLD)
    main(Asked.of_command())
