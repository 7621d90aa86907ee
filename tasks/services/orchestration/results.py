"""Kept results of stages: read only where they are records of this project, written as JSON.

Each file names the serializer that Prefect reads it with, pickle among them, and the classes that it makes of the
JSON (https://docs.prefect.io/v3/advanced/results). Who can write such a file could have any code run, so it is looked
at first. Between this look and Prefect's reading the file can change: who can write into a home is trusted.
"""

import json
import os
import sys
import zlib
from pathlib import Path
from typing import Any

from prefect.results import get_default_result_storage, get_result_store
from prefect.serializers import JSONSerializer

from tasks import records
from tasks.runtime import progress
from tasks.runtime.store import uses
from tasks.runtime.store.checksums import BESIDE
from tasks.runtime.store.commits import DAMAGED

#: What Prefect's reader makes objects of, wherever it stands in the JSON.
MARKS = ("__class__", "__exc_type__")


def sound(key: str) -> bool:
    """Whether the result kept under a key may be read; True where there is none.

    One that is damaged is set aside first. One that an older release has kept gets its checksum.
    """
    kept = _read(key)
    if kept is None:
        return True
    if folder := os.environ.get("PREFECT_LOCAL_STORAGE_PATH"):
        uses.touch(Path(folder, key))
    noted = _read(f"{key}{BESIDE}")
    if not noted:
        _write(f"{key}{BESIDE}", _checksum(kept))
    elif noted != _checksum(kept):
        _write(f"{key}{DAMAGED}", kept)
        progress.say(f"The kept result {key} is damaged. It is set aside as {key}{DAMAGED}, and computed again.")
        return False
    return record(kept)


def forget(key: str) -> None:
    """Before a result is kept anew, what is known of the one before, so that no other run compares the two."""
    if _read(f"{key}{BESIDE}"):
        _write(f"{key}{BESIDE}", b"")


def note(key: str) -> None:
    """Keep the checksum of a result that has just been kept."""
    kept = _read(key)
    if kept is not None:
        _write(f"{key}{BESIDE}", _checksum(kept))


def damaged(folder: Path) -> list[str]:
    """Keys of the results in a local folder that are not as they were kept."""
    found = []
    for noted in sorted(folder.glob(f"*{BESIDE}")):
        kept, checksum = noted.with_name(noted.name.removesuffix(BESIDE)), noted.read_bytes()
        if checksum and kept.is_file() and _checksum(kept.read_bytes()) != checksum:
            found.append(kept.name)
    return found


def _checksum(kept: bytes) -> bytes:
    return f"{zlib.crc32(kept):08x}".encode()


def _read(key: str) -> bytes | None:
    try:
        return _storage().read_path(key, _sync=True)
    except (ValueError, OSError):  # Prefect's way to say that there is none
        return None


def _write(key: str, content: bytes) -> None:
    _storage().write_path(key, content, _sync=True)


def _storage() -> Any:
    return get_result_store().result_storage or get_default_result_storage(_sync=True)


def record(kept: bytes) -> bool:
    """Whether a result's file is one record of this project in JSON, read by nothing but Prefect's own JSON reader."""
    marks = 0

    def count(found: dict[str, Any]) -> dict[str, Any]:
        nonlocal marks
        marks += sum(mark in found for mark in MARKS)
        return found

    try:
        whole = json.loads(kept)
        module, _, name = json.loads(whole["result"], object_hook=count)["__class__"].rpartition(".")
        written = whole["metadata"]["serializer"]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return False
    kind = getattr(sys.modules.get(module), name, None) if module.startswith(f"{records.__name__}.") else None
    ours = isinstance(kind, type) and issubclass(kind, records.Record)
    return ours and marks == 1 and written == JSONSerializer().model_dump()
