"""Logs as JSON lines on stderr: declared fields only, bounded, escaped, UTC.

A line is one line whatever its fields hold, since JSON in ASCII escapes every control character. A field that is not
declared in `app.observe` is dropped and named, so that a row value cannot get in by a careless keyword.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final, TextIO

import structlog

from app.core.errors import Unready
from app.observe import LOG_FIELDS

_FIELD_LENGTH_MAX: Final = 1_000
_TALKATIVE: Final = ("httpx", "httpcore")
"""Libraries that say at `info` what nobody needs to know of every request."""

Line = MutableMapping[str, Any]


def _bounded(value: object) -> object:
    if isinstance(value, bool | int | float) or value is None:
        return value
    if isinstance(value, bytes):
        value = value.hex()
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= _FIELD_LENGTH_MAX else text[: _FIELD_LENGTH_MAX - 1] + "…"


def _declared_only(_logger: object, _method: str, line: Line) -> Line:
    dropped = sorted(name for name in line if name not in LOG_FIELDS)
    kept: Line = {name: _bounded(line[name]) for name in LOG_FIELDS if name in line}
    if dropped:
        kept["dropped_fields"] = ",".join(name[:40] for name in dropped[:10])
    return kept


def _error_of(_logger: object, _method: str, line: Line) -> Line:
    """Name an exception by its class and text; the traceback goes to nobody's log in full."""
    info = line.pop("exc_info", None)
    error = info if isinstance(info, BaseException) else None
    if info is True or (info and error is None):
        error = info[1] if isinstance(info, tuple) else sys.exc_info()[1]
    if error is not None:
        line.setdefault("error_type", type(error).__name__)
        line.setdefault("what", str(error))
        line.setdefault("where", _place_of(error))
    line.pop("stack_info", None)
    return line


def _place_of(error: BaseException) -> str:
    last = error.__traceback__
    if last is None:
        return ""
    while last.tb_next is not None:
        last = last.tb_next
    code = last.tb_frame.f_code
    return f"{code.co_filename.rpartition('/')[2]}:{last.tb_lineno} {code.co_name}"


def _rendered(_logger: object, _method: str, line: Line) -> str:
    return json.dumps(line, ensure_ascii=True, separators=(",", ":"), default=str)


def configure_logs(
    service: str, version: str, instance: str, *, to: TextIO | None = None, level: int = logging.INFO
) -> None:
    """Send every log of the process, ours and the libraries', to one stream as JSON lines."""
    constant = {"service": service, "version": version, "instance": instance}

    def named(_logger: object, _method: str, line: Line) -> Line:
        return {**constant, **line}

    before: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        named,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*before, structlog.stdlib.add_logger_name],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _error_of,
            _declared_only,
            _rendered,
        ],
    )
    handler = logging.StreamHandler(to or sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for library in _TALKATIVE:
        logging.getLogger(library).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def log(**fields: str) -> Any:  # noqa: ANN401 - structlog's own lazy type
    """Return a logger with fields that all its lines have."""
    return structlog.get_logger(**fields)


def must_wait(who: str) -> Callable[[Unready, float], None]:
    """Return what says of a process that it must wait: for what, and in how many seconds it looks again."""

    def tell(fault: Unready, again_in_s: float) -> None:
        log().warning(f"the {who} must wait", again_in_ms=int(again_in_s * 1_000), **error_fields(fault))

    return tell


def error_fields(error: Exception) -> Mapping[str, str]:
    """Return what an error says, as fields of a line."""
    return {
        "error_type": type(error).__name__,
        "what": str(getattr(error, "what", error)),
        "where": str(getattr(error, "where", "")),
        "hint": str(getattr(error, "hint", "")),
    }
