"""
Logs: one JSON object per line, for machines first.

No key, token, body or payload is written here: callers log names and numbers, and a
traceback shows code and messages, which repeat no values.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

import orjson


class JsonLines(logging.Formatter):
    """A log record as one line of JSON; members given as `extra={"fields": ...}` stand beside."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def log_json_lines(level: str) -> None:
    """Write what this process logs to standard error, from `level` (such as `info`) on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # The access log says the same with the path's template instead of the path.
    logging.getLogger("uvicorn.access").disabled = True
