"""One at a time: a lock on the name of a registered model, shared by all users of the registry.

It lies where the registry lies, so that nobody passes it by. If that is a database, the lock is the database's and is
freed when its process ends: for SQLite an exclusive transaction on a small file beside it, since one on the database
itself would block MLflow (https://sqlite.org/lang_transaction.html); for PostgreSQL an advisory lock of the session
(https://www.postgresql.org/docs/current/explicit-locking.html), for MySQL `GET_LOCK`.

If it is a tracking server, the lock is made of tags of the model. MLflow cannot set a tag only if nobody else has, but
it need not: whoever raises a flag of his own first and looks for those of others then is never alone with another, as
the second of two must see the first (the flag principle: Herlihy and Shavit, The Art of Multiprocessor Programming,
chapter 1). Two who see each other both take their flags down and try again after a random while. A flag that others
have watched for `LEASE` seconds is taken down, as its process may be gone. So whoever holds a lock looks again right
before each write whether it is still his (`check`): a process that was frozen for so long writes nothing afterwards.
MLflow offers no more than that; between this look and the write are milliseconds.
"""

import hashlib
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

from tasks.runtime import databases, processes
from tasks.runtime.errors import DependencyError
from tasks.services import tracking

#: Seconds to wait for a lock, until a flag counts as left behind, and between two looks, about.
WAIT, LEASE, PAUSE = 600.0, 120.0, 1.0
#: Prefix of the tags that are flags; each holds the name of its process.
FLAG = "headstart.lock."

#: For each model that is locked here: whether it still is.
_held: ContextVar[dict[str, Callable[[], bool]]] = ContextVar("held")


@contextmanager
def held(registry: str, name: str) -> Iterator[None]:
    """Inside, no other process moves aliases of the model `name` in the registry at this address.

    Raises `DependencyError` if another process still holds the lock after `WAIT` seconds.
    """
    scheme = registry.partition(":")[0].partition("+")[0]
    if scheme == "sqlite":
        lock = _of_file(Path(f"{databases.file_of(registry)}.locks"), name)
    elif scheme in ("postgresql", "mysql"):
        lock = _of_session(registry, scheme, name)
    else:
        lock = _of_flag(name)
    with lock as still:
        token = _held.set(_held.get({}) | {name: still})
        try:
            yield
        finally:
            _held.reset(token)


def check(name: str) -> None:
    """Raise `DependencyError` if the lock on a model that was taken here is no longer held; it may not be taken."""
    if not _held.get({}).get(name, lambda: True)():
        raise DependencyError(
            f"Expected to hold the promotion lock on {name}, but this process was held up for so long that another one "
            "may have taken it. Nothing more was written. Run the same command again."
        )


@contextmanager
def _of_file(folder: Path, name: str) -> Iterator[Callable[[], bool]]:
    folder.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(folder / f"{quote(name, safe='')}.db", timeout=WAIT, isolation_level=None)
    try:
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise _still_held(name) from error
        yield lambda: True  # the kernel's, for as long as the process lives
    finally:
        connection.close()


@contextmanager
def _of_session(registry: str, scheme: str, name: str) -> Iterator[Callable[[], bool]]:
    from sqlalchemy import create_engine, pool, text
    from sqlalchemy.exc import OperationalError, SQLAlchemyError

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

        def still() -> bool:
            with suppress(SQLAlchemyError):  # the lock goes with the connection
                return connection.execute(text("SELECT 1")).scalar() == 1
            return False

        yield still


@contextmanager
def _of_flag(name: str) -> Iterator[Callable[[], bool]]:
    from mlflow.exceptions import MlflowException

    own, client = f"{FLAG}{uuid4().hex}", tracking.client()
    seen: dict[str, float] = {}
    waited = 0.0
    try:
        while others := _others(name, own) or _raised(name, own):
            for flag, process in others.items():
                if processes.gone(process) or seen.get(flag, 0.0) >= LEASE:
                    client.delete_registered_model_tag(name, flag)
            if waited >= WAIT:
                raise _still_held(name)
            pause = PAUSE * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
            time.sleep(pause)
            waited += pause
            seen = {flag: seen.get(flag, 0.0) + pause for flag in others}
        yield lambda: own in _flags(name)
    finally:
        with suppress(MlflowException):  # others take it down
            client.delete_registered_model_tag(name, own)


def _raised(name: str, own: str) -> dict[str, str]:
    """Raise the own flag; the flags of others that are up too, with their processes. Then the own one is down again."""
    tracking.client().set_registered_model_tag(name, own, processes.own())
    if others := _others(name, own):
        tracking.client().delete_registered_model_tag(name, own)
    return others


def _others(name: str, own: str) -> dict[str, str]:
    return {flag: process for flag, process in _flags(name).items() if flag != own}


def _flags(name: str) -> dict[str, str]:
    tags = tracking.client().get_registered_model(name).tags
    return {tag: process for tag, process in tags.items() if tag.startswith(FLAG)}


def _still_held(name: str) -> DependencyError:
    return DependencyError(
        f"Another process has held the promotion lock on {name} for {WAIT:.0f} s. Wait until it ends, or stop it: that "
        "frees the lock."
    )
