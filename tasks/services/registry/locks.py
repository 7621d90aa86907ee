"""One at a time: a lock on the name of a registered model, shared by all users of the registry.

Each kind is freed when its process ends, for whatever reason. If the registry is a database, the lock is the
database's: for SQLite an exclusive transaction on a small file beside it, since one on the database itself would block
MLflow (https://sqlite.org/lang_transaction.html); for PostgreSQL an advisory lock of the session
(https://www.postgresql.org/docs/current/explicit-locking.html), for MySQL `GET_LOCK`. If it is a tracking server, the
lock is a concurrency slot of the Prefect server, whose lease ends when it is not renewed
(https://docs.prefect.io/v3/concepts/global-concurrency-limits).
"""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from tasks.runtime import progress
from tasks.runtime.errors import DependencyError
from tasks.runtime.home import home

#: Seconds to wait for a lock, and until Prefect frees the slot of a dead process (the minimum that it allows).
WAIT, LEASE = 600, 60


@contextmanager
def held(registry: str, name: str) -> Iterator[None]:
    """Inside, no other process moves aliases of the model `name` in the registry at this address.

    Raises `DependencyError` if another process still holds the lock after `WAIT` seconds.
    """
    scheme = registry.partition(":")[0].partition("+")[0]
    if scheme == "sqlite":
        lock = _of_file(Path(f"{registry.partition('///')[2].partition('?')[0]}.locks"), name)
    elif scheme in ("postgresql", "mysql"):
        lock = _of_session(registry, scheme, name)
    elif _server():
        lock = _of_slot(name)
    else:
        progress.say(f"No PREFECT_API_URL is set, so the lock on {name} works on this machine only.")
        lock = _of_file(home() / "locks", name)
    with lock:
        yield


def _server() -> bool:
    """Whether there is a Prefect server that others see too."""
    from prefect.settings import PREFECT_API_URL

    return bool(PREFECT_API_URL.value())


@contextmanager
def _of_file(folder: Path, name: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(folder / f"{quote(name, safe='')}.db", timeout=WAIT, isolation_level=None)
    try:
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise _still_held(name) from error
        yield
    finally:
        connection.close()


@contextmanager
def _of_session(registry: str, scheme: str, name: str) -> Iterator[None]:
    from sqlalchemy import create_engine, pool, text
    from sqlalchemy.exc import OperationalError

    number = hashlib.sha256(f"headstart {name}".encode()).digest()[:8]
    if scheme == "postgresql":
        before, take = f"SET lock_timeout = '{WAIT}s'", "SELECT pg_advisory_lock(:key) IS NOT NULL"
        key: int | str = int.from_bytes(number, "big", signed=True)
    else:
        before, take, key = "SELECT 1", f"SELECT GET_LOCK(:key, {WAIT})", f"headstart {number.hex()}"
    engine = create_engine(registry, poolclass=pool.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(before))
        try:
            taken = connection.execute(text(take), {"key": key}).scalar()
        except OperationalError as error:
            raise _still_held(name) from error
        if not taken:
            raise _still_held(name)
        yield


@contextmanager
def _of_slot(name: str) -> Iterator[None]:
    from prefect.client.orchestration import get_client
    from prefect.concurrency.asyncio import AcquireConcurrencySlotTimeoutError
    from prefect.concurrency.sync import concurrency
    from prefect.exceptions import ObjectAlreadyExists

    slot = f"headstart {name}"
    # Two processes may both find none and create it: the second gets an error.
    with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):
        client.upsert_global_concurrency_limit_by_name(slot, 1)
    try:
        # Without `strict`, a missing slot would not limit anything, and a lost lease would not stop the block.
        with concurrency(slot, timeout_seconds=WAIT, lease_duration=LEASE, strict=True):
            yield
    except AcquireConcurrencySlotTimeoutError as error:
        raise _still_held(name) from error


def _still_held(name: str) -> DependencyError:
    return DependencyError(
        f"Another process has held the promotion lock on {name} for {WAIT} s. Wait until it ends, or stop it: that "
        "frees the lock."
    )
