"""What reading commands need of a deployment: its topics and its records."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from app.cli.invocation import Invocation
from app.core.errors import Undecodable
from app.topics import Topic

if TYPE_CHECKING:
    from app.adapters.topic_log import LogRecord, TopicLog
    from app.codec.records import RecordCodec
    from app.settings import Settings

_Value = TypeVar("_Value")
_AGO: Final = re.compile(r"(\d{1,9})(ms|s|m|h|d)")
_UNIT_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class Moment(click.ParamType):
    """A wall-clock moment in milliseconds, said as a time ago (`10m`) or as RFC 3339."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401 - Click's
        """Return milliseconds since 1970."""
        from app.adapters.system_clock import wall_ms

        if isinstance(value, int):
            return value
        ago = _AGO.fullmatch(value)
        if ago is not None:
            return wall_ms() - int(ago[1]) * _UNIT_MS[ago[2]]
        try:
            said = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is neither a time ago (10m, 2h) nor a time (2026-11-23T18:00:00Z)", param, ctx)
        return int((said if said.tzinfo else said.replace(tzinfo=UTC)).timestamp() * 1_000)


MOMENT: Final = Moment()


@dataclass(frozen=True)
class Deployment:
    """A deployment's topics, as a reading command sees them."""

    settings: Settings
    client: str

    @classmethod
    def of(cls, invocation: Invocation, client: str) -> Deployment:
        """Return the deployment that the settings name; `client` names the command in the broker's logs."""
        return cls(invocation.settings(), f"driftline-{client}")

    @cached_property
    def codec(self) -> RecordCodec:
        """The codec of our records."""
        from app.adapters.registry import schema_book
        from app.codec.records import RecordCodec

        return RecordCodec(self.settings.deployment, schema_book(self.settings.registry_url, self.settings.deployment))

    @cached_property
    def log(self) -> TopicLog:
        """The reader of topics."""
        from app.adapters.kafka import KafkaClients
        from app.adapters.topic_log import TopicLog

        return TopicLog(KafkaClients.of(self.settings), self.client)

    def records(
        self,
        topic: Topic,
        read: Callable[[bytes | None], _Value],
        since_wall_ms: int | None = None,
        unreadable: Callable[[LogRecord, Undecodable], None] | None = None,
    ) -> Iterator[tuple[LogRecord, _Value]]:
        """Yield the records of a topic up to now, decoded; one that cannot be read is told and left out."""
        unreadable = unreadable or tell_unreadable
        for record in self.log.until_now([topic.name(self.settings.deployment)], since_wall_ms):
            if record.value is None:
                continue
            try:
                yield record, read(record.value)
            except Undecodable as fault:
                unreadable(record, fault)


def tell_unreadable(record: LogRecord, fault: Undecodable) -> None:
    """Tell on stderr that a record was left out."""
    from app.cli.output import safe_text

    place = f"{record.topic}[{record.partition}]@{record.offset}"
    click.echo(f"driftline: {place} is left out: {safe_text(str(fault))}", err=True)
