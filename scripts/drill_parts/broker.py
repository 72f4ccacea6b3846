"""A local broker for the drill alone, which can be killed, and which can be made to refuse records."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Final

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # documented, not listed
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from stack_parts import commands
from stack_parts.part import running_part

_KAFKA_ALONE: Final = tuple(part for part in commands.PARTS if part != "kafka")
_LARGEST_RECORD: Final = "max.message.bytes"


@dataclass
class Broker:
    """The broker of one stack."""

    stack: str
    base_port: int | None
    restarts: int = 0

    def start(self) -> str:
        """Start it, unless it runs; return its address."""
        commands.up(self.stack, self.base_port, without=_KAFKA_ALONE, quiet=True)
        return str(commands.describe(commands.existing(self.stack))["kafka"]["bootstrap"])

    def kill_and_start(self) -> None:
        """Kill it with -9 and start it again on what its disk has."""
        process = running_part(commands.existing(self.stack), "kafka")
        if process is None:
            raise RuntimeError("the broker is gone before it was killed")
        process.end(signal.SIGKILL, 10)
        self.restarts += 1
        self.start()

    def wipe(self) -> None:
        """End it and delete its data."""
        commands.wipe(self.stack, quiet=True)

    def stop(self) -> None:
        """End it and keep its data."""
        commands.down(self.stack, quiet=True)


def limit_records(bootstrap: str, topic: str, bytes_max: int | None) -> None:
    """Let the broker refuse batches of a topic above this size; None: as large as by default."""
    kind = AlterConfigOpType.DELETE if bytes_max is None else AlterConfigOpType.SET
    value = None if bytes_max is None else str(bytes_max)
    entry = ConfigEntry(_LARGEST_RECORD, value, incremental_operation=kind)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for done in admin.incremental_alter_configs([resource]).values():
        done.result(30)
