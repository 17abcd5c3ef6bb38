"""What every object of the host is to a strategy in Python."""

from __future__ import annotations

import json
from typing import Any


class Handle:
    """An object of the host. It is gone when nobody has it any more, and with the query."""

    def __init__(self, host: Any, handle: int) -> None:
        self.host = host
        self.handle = handle

    def __del__(self) -> None:
        if self.handle:
            try:
                self.host.call("release", self.handle)
            except Exception:
                # The query is over, and its objects with it.
                pass


def as_json(value: Any) -> str:
    """A choice or a record as calls take it."""
    return json.dumps(value)
