"""The SQLite databases of a home, which MLflow, Prefect and Optuna make and change by Alembic's migrations.

Two processes that make one at once spoil it, and so does one that is killed meanwhile. A database is therefore made and
changed by one process at a time, and one that was never finished and holds nothing is made again. A database that is
whole is opened without a lock.
"""

import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from tasks.runtime import locks, progress
from tasks.runtime.errors import DependencyError
from tasks.runtime.home import home

_MIGRATION = re.compile(r"""^(down_)?revision\b[^=]*=\s*["'](\S+)["']""", re.MULTILINE)

State = Literal["missing", "whole", "unfinished", "older", "newer", "damaged", "busy"]


@dataclass(frozen=True)
class Database:
    """A kind of database: whose it is, where the home keeps it, and what tells that somebody has used it."""

    library: str
    path: str
    #: The folder of the migrations in the library's package.
    migrations: str
    #: Tables that are empty in a new database.
    tables: tuple[str, ...]
    #: What Python runs to upgrade the database whose address follows; empty if the library does so when it opens it.
    upgrade: tuple[str, ...] = ()

    @property
    def file(self) -> Path:
        """Where the home keeps it."""
        return home() / self.path


MLFLOW = Database(
    "mlflow",
    "mlflow.db",
    "store/db_migrations/versions",
    ("runs", "registered_models"),
    ("-m", "mlflow", "db", "upgrade"),
)
PREFECT = Database(
    "prefect",
    "prefect/prefect.db",
    "server/database/_migrations/versions/sqlite",
    ("flow_run", "deployment", "automation"),
)
OPTUNA = Database(
    "optuna",
    "tune.db",
    "storages/_rdb/alembic/versions",
    ("studies",),
    ("-c", "import sys, optuna; optuna.storages.RDBStorage(sys.argv[1], skip_compatibility_check=True).upgrade()"),
)


@contextmanager
def opening(kind: Database, file: Path | None = None) -> Iterator[None]:
    """Inside, the caller may open the database and make or change it; on return it is expected to be whole.

    `file`: instead of the home's. Raises `DependencyError` if the database must be changed or mended first.
    """
    file = file or kind.file
    if state(kind, file) == "whole":
        yield
        return
    with _alone(file):
        found = state(kind, file)
        if found == "unfinished":
            kept = _set_aside(file)
            progress.say(f"{file} was never finished and holds nothing; it is made again, and kept as {kept.name}.")
        elif found == "older" and not kind.upgrade:
            _copied(file)
        elif found in ("older", "newer", "damaged"):
            raise DependencyError(_advice(kind, file, found))
        yield


def file_of(address: str) -> Path:
    """The file that SQLAlchemy opens for an address of SQLite, such as `sqlite:////srv/mlflow.db`."""
    return Path(address.partition("///")[2].partition("?")[0])


def upgrade(kind: Database, file: Path | None = None) -> str:
    """Change an older database to what the installed library expects; a sentence on what was done, or "".

    A copy is kept beside it. Raises `DependencyError` if the library cannot change it: the database is as it was then.
    """
    file = file or kind.file
    if not kind.upgrade or state(kind, file) != "older":
        return ""
    with _alone(file):
        copy = _copied(file)
        command = [sys.executable, *kind.upgrade, f"sqlite:///{file}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - written above
        if done.returncode or state(kind, file) != "whole":
            _put(copy, file)
            reason = done.stderr.strip().rpartition("\n")[2][:300]
            raise DependencyError(
                f"{kind.library} could not upgrade {file}, which is as it was: {reason}. Install the version of "
                f"{kind.library} that made it, or move the file away to begin anew."
            )
    return f"{file} was upgraded for {kind.library} {metadata.version(kind.library)}; the old one is {copy}."


def complaint(kind: Database, file: Path | None = None) -> str:
    """What is wrong with a database and what to do, or ""."""
    file = file or kind.file
    found = state(kind, file)
    wrong = found in ("newer", "damaged") or (found == "older" and kind.upgrade)
    return _advice(kind, file, found) if wrong else ""


def state(kind: Database, file: Path) -> State:
    """What a database is, read from the file alone.

    "unfinished": its making was interrupted, or goes on at this moment, and nobody has used it. "older" and "newer":
    used with another version of the library. "busy": another process has locked it, or it cannot be read.
    """
    if not file.is_file():
        return "missing"
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            found = database.execute("SELECT version_num FROM alembic_version") if "alembic_version" in tables else ()
            revisions = {revision for (revision,) in found}
            if revisions == {_newest(kind)}:
                return "whole"
            used = any(database.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone() for name in tables & {*kind.tables})  # noqa: S608 - names from above
    except sqlite3.OperationalError:
        return "busy"
    except sqlite3.DatabaseError:
        return "damaged"
    if not used:
        return "unfinished"
    return "newer" if revisions - _migrations(kind)[0] else "older"


def _newest(kind: Database) -> str:
    """The migration that no other one follows."""
    all_of_them, followed = _migrations(kind)
    (newest,) = all_of_them - followed
    return newest


@cache
def _migrations(kind: Database) -> tuple[frozenset[str], frozenset[str]]:
    """All revisions that the installed library knows, and those that another one follows; read, not imported."""
    package = find_spec(kind.library)
    assert package and package.submodule_search_locations
    folder = Path(package.submodule_search_locations[0], kind.migrations)
    found = [each for file in folder.glob("*.py") for each in _MIGRATION.findall(file.read_text(encoding="utf-8"))]
    return frozenset(name for down, name in found if not down), frozenset(name for down, name in found if down)


def _alone(file: Path) -> AbstractContextManager[None]:
    return locks.alone(Path(f"{file}.lock"), f"making or upgrading {file}")


def _copied(file: Path) -> Path:
    """A copy beside the database, with all that is committed (https://sqlite.org/backup.html)."""
    copy = _free(file)
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy


def _set_aside(file: Path) -> Path:
    kept = _free(file)
    _put(file, kept)
    return kept


def _put(file: Path, there: Path) -> None:
    """Move a database, with the files in which SQLite keeps what it has not written there yet."""
    for end in ("-wal", "-shm", ""):
        there.with_name(f"{there.name}{end}").unlink(missing_ok=True)
        if (part := file.with_name(f"{file.name}{end}")).exists():
            part.rename(there.with_name(f"{there.name}{end}"))


def _free(file: Path) -> Path:
    at = time.strftime("%Y%m%d-%H%M%S")
    names = (file.with_name(f"{file.name}.{at}{more}") for more in ("", *(f"-{n}" for n in range(1, 1000))))
    return next(name for name in names if not name.exists())


def _advice(kind: Database, file: Path, found: State) -> str:
    installed = f"{kind.library} {metadata.version(kind.library)}"
    return {
        "older": f"Expected the database {file} as {installed} keeps it, found an older one. Run: headstart doctor "
        "--repair, which keeps a copy and upgrades it.",
        "newer": f"Expected the database {file} as {installed} keeps it, found one of a newer version. Install the "
        f"version of {kind.library} that was used last with this home.",
    }.get(
        found,
        f"Expected a SQLite database at {file}, found something else or a damaged one. Put a backup in its place, or "
        "move it away to begin anew.",
    )
