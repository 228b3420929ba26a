"""Logging: JSON lines to a file that is turned over when it grows, and readable lines to a terminal where
there is one.
"""

from __future__ import annotations

import enum
import logging
import logging.handlers
import sys
from typing import TYPE_CHECKING

import structlog

from pcvd import progress

if TYPE_CHECKING:
    from pathlib import Path

_MOST_BYTES = 5 << 20
_OLD_FILES = 2


class Terminal(enum.Enum):
    """What standard error is to show."""

    NOTHING = "nothing"
    LINES = "lines"
    """Every event, with its time."""
    PROGRESS = "progress"
    """What somebody who waits for a round wants to see."""


def configure(file: Path | None, *, terminal: Terminal, level: int = logging.INFO) -> None:
    """Send structlog's events to `file` (JSON) and to standard error. Once per process."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    handlers: list[logging.Handler] = []
    if file is not None:
        kept = logging.handlers.RotatingFileHandler(
            file, maxBytes=_MOST_BYTES, backupCount=_OLD_FILES, encoding="utf-8"
        )
        kept.setFormatter(
            _formatter([structlog.processors.format_exc_info, structlog.processors.JSONRenderer()])
        )
        handlers.append(kept)
    if terminal is not Terminal.NOTHING:
        shown = logging.StreamHandler(sys.stderr)
        lines = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        shown.setFormatter(
            _formatter(
                [lines] if terminal is Terminal.LINES else [structlog.processors.format_exc_info, _progress]
            )
        )
        if terminal is Terminal.PROGRESS:
            shown.addFilter(_waited_for)
        handlers.append(shown)
    logging.basicConfig(level=level, handlers=handlers or [logging.NullHandler()], force=True)
    for noisy in ("uvicorn", "uvicorn.error", "watchfiles", "asyncio", "aiosqlite"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _progress(_logger: object, _name: str, event: structlog.typing.EventDict) -> str:
    return f"  {progress.line(event)}"


def _waited_for(record: logging.LogRecord) -> bool:
    # structlog's events arrive as the record's message; what libraries log is text.
    return not isinstance(record.msg, dict) or progress.line(record.msg) is not None


def _formatter(last: list[structlog.typing.Processor]) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
    )
