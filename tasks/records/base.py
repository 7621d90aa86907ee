"""What all records share: the digest of their content, metrics, files and tables."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tasks.runtime import plugins

SPLITS = ("train", "validation", "test")
#: With `split.by_time`: random images of the time before the test images, which only the evaluation uses.
OLDER = "older"


def digest(*parts: Any) -> str:
    """SHA-256 (first 20 hex digits) of JSON-like values, settings and records; equal values give equal digests.

    The code of others' plugins that they name counts too.
    """
    text = json.dumps(parts, sort_keys=True, default=_plain)
    if code := plugins.mentioned(text):
        text += json.dumps(code, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value):
        return getattr(value, "digest", None) or dataclasses.asdict(value)  # type: ignore[arg-type]
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no stable digest; pass a record, settings or plain values")


class Record:
    """The properties of every record."""

    @property
    def numbers(self) -> dict[str, float]:
        """Its metrics in MLflow."""
        return {}

    @property
    def files(self) -> tuple[str, ...]:
        """Paths that must exist for the record to be valid, relative to the home folder."""
        return tuple(getattr(self, name) for name in ("path", "predictions") if hasattr(self, name))

    @property
    def stored(self) -> tuple[str, ...]:
        """Names of the tables that must exist too, wherever the store is."""
        return ()


@dataclass(frozen=True)
class Gain:
    """How much better one model is than another on the same rows, with the 95 % interval."""

    value: float
    low: float
    high: float
    #: Further rows that would probably tell what the interval leaves open; None: told already, or no estimate.
    more: int | None = None

    @property
    def error(self) -> float:
        """The standard error, by the interval."""
        return (self.high - self.low) / (2 * 1.96)


@dataclass(frozen=True)
class StageLog:
    """How long a stage took, and whether its result was cached."""

    seconds: float
    cached: bool
