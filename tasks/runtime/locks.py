"""One process at a time, of all that share a disk: a file's lock, which the system frees when its process ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.runtime.errors import DependencyError

#: Seconds to wait for another process.
WAIT = 300


@contextmanager
def alone(lock: Path, doing: str) -> Iterator[None]:
    """Inside, no other process holds this lock; `doing` says what for, such as "upgrading FILE".

    Raises `DependencyError` if another process still holds it after `WAIT` seconds.
    """
    from filelock import FileLock, Timeout

    lock.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(lock, timeout=WAIT)
    try:
        held.acquire()
    except Timeout:
        raise DependencyError(
            f"Another process has been {doing} for {WAIT} s. Wait until it ends, or stop it."
        ) from None
    try:
        yield
    finally:
        held.release()
