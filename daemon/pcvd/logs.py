"""Logging: JSON lines to a file that is turned over when it grows, and readable lines to a terminal where
there is one.
"""

from __future__ import annotations

import logging
import logging.handlers
import sys
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from pathlib import Path

_MOST_BYTES = 5 << 20
_OLD_FILES = 2


def configure(file: Path | None, *, terminal: bool, level: int = logging.INFO) -> None:
    """Send structlog's events to `file` (JSON) and, if `terminal`, to standard error (readable). Once per
    process.
    """
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
    if terminal:
        shown = logging.StreamHandler(sys.stderr)
        shown.setFormatter(_formatter([structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]))
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


def _formatter(last: list[structlog.typing.Processor]) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
    )
