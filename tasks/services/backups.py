"""What belongs into a backup, by Headstart's own settings, and whether a backup is whole.

For `infra/backup.sh` and `infra/restore.sh`, which run `python -P -m tasks.services.backups STEP FOLDER`:

- `begin`: look whether all is in reach, make the new folder, and copy the SQLite databases into it
- `check`: look whether all of a backup is there and has a place to go, before anything is overwritten
- `end`: put the SQLite databases back

Each prints the home folder.
"""

import os
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from tasks.runtime import databases
from tasks.runtime.errors import HeadstartError, UsageError, brief, few, without_secrets
from tasks.runtime.home import home
from tasks.runtime.store.writing import replacing

SUMS = "SHA256SUMS"
#: A file in the backup of a home whose server has its own; the script's option is `--` and this.
HOME_ONLY = "home-only"
#: Dumps of the databases of servers.
DUMPS = ("mlflow.dump", "mlflow_users.dump", "prefect.dump")
#: Variables that servers need: where PostgreSQL is, and where the files of runs are.
SERVER, DESTINATION, TRACKING = "PGHOST", "MLFLOW_ARTIFACTS_DESTINATION", "MLFLOW_TRACKING_URI"
#: What of a home stays out of a backup, but for the data sets in the store.
LEFT_OUT = ("store", "prefect", "locks", "processes")
#: Where MLflow keeps the files of runs, models and versions that are not deleted.
PLACES = """
SELECT artifact_uri FROM runs WHERE lifecycle_stage = 'active'
UNION SELECT artifact_location FROM logged_models WHERE lifecycle_stage = 'active'
UNION SELECT storage_location FROM model_versions WHERE current_stage <> 'Deleted_Internal'
"""


def begin(folder: Path, home_only: bool = False) -> None:
    """Make the folder of a new backup, with copies of the SQLite databases.

    `home_only`: the server has a backup of its own. Raises `UsageError` if the folder is there, or if something that
    belongs into a backup is not in reach; nothing is made then.
    """
    if not home().is_dir():
        raise UsageError(f"Expected a home folder, found none at {home()}. Name it with HEADSTART_HOME.")
    if folder.resolve().is_relative_to(home().resolve()):
        raise UsageError(f"Expected a folder outside of the home {home()}, found {folder}. Name another one.")
    inside = (each for each in home().iterdir() if each.is_symlink() and each.is_dir() and each.name not in LEFT_OUT)
    if links := [each.name for each in inside if not _kept(str(each))]:
        raise UsageError(
            f"Expected all of the home in {home()}, found links that lead elsewhere: {few(links)}. Move these folders "
            f"into the home; that of the files of runs may stay, if {DESTINATION} names it."
        )
    if not home_only:
        _sources()
    found = {name: file for name, file in _databases().items() if file.is_file()}
    for file in found.values():
        _in_reach(file)
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise UsageError(f"Expected a new folder in one that is there, found {folder}: {error.strerror}.") from None
    if home_only:
        (folder / HOME_ONLY).touch()
    for name, file in found.items():
        _copy(file, folder / name)


def _sources() -> None:
    """Raise `UsageError` if the databases and files of MLflow that the settings name are not in reach."""
    used = _used()
    if not os.environ.get(SERVER):
        if used is None:
            raise UsageError(
                f"Expected {SERVER} and the passwords of the databases of {_tracking()}, found none. Set them; or give "
                f"--{HOME_ONLY} after the folder, if that server has a backup of its own."
            )
        if not used.is_file():
            raise UsageError(
                f"Expected MLflow's database at {used}, found none. Name it with {TRACKING}, or the home with "
                f"HEADSTART_HOME; with servers, set {SERVER}."
            )
    elif not os.environ.get(DESTINATION):
        raise UsageError(f"Expected {DESTINATION}, where MLflow's server keeps files, found none. Set it.")
    elif _tracking() and used and not used.is_file():
        raise UsageError(f"Expected MLflow's database at {used}, found none. Correct {TRACKING}, or unset it.")


def check(folder: Path) -> None:
    """Raise `UsageError` if a part of a backup is not there, or has no place to go. Checksums were compared before."""
    there = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()} - {SUMS}
    listed = (folder / SUMS).read_bytes().count(b"\n")
    if listed != len(there):
        raise UsageError(f"Expected {listed} files in {folder}, as its {SUMS} lists them, found {len(there)}.")
    dumps, own = there & {*DUMPS}, there & {"mlflow.db", "tracking.db"}
    if dumps and (missing := sorted({*DUMPS} - dumps)):
        raise UsageError(f"Expected {', '.join(DUMPS)} in {folder}, found no {', '.join(missing)}.")
    if dumps and not (folder / "objects").is_dir():
        raise UsageError(f"Expected the files of MLflow's server in {folder}/objects, found no such folder.")
    alone = HOME_ONLY in there
    if not dumps and not ("home.tar" in there and (own or alone)):
        raise UsageError(f"Expected home.tar and a database in {folder}, found {few(sorted(there), 5) or 'nothing'}.")
    for wanted, name in ((dumps, SERVER), ((folder / "objects").is_dir(), DESTINATION)):
        if wanted and not os.environ.get(name):
            raise UsageError(f"Expected {name}, as the backup in {folder} is one of servers, found none. Set it.")
    places = _databases()
    used = {name for name, file in places.items() if file == _used()}
    if own - {*places} or not (dumps or alone or used & own):
        raise UsageError(
            f"Expected {TRACKING} as it was when {folder} was written, which holds {', '.join(sorted(own))}; found "
            f"{_tracking() or 'none'}. Set it to the same database, or unset it if it was not set."
        )
    for name in own:
        _in_reach(folder / name)


def end(folder: Path) -> None:
    """Put the SQLite databases of a backup back, each whole or not at all."""
    for name, file in _databases().items():
        if (folder / name).is_file():
            with replacing(file) as working:
                shutil.copyfile(folder / name, working)
                # What SQLite had not written into the database before belongs to that one alone.
                for ending in ("-journal", "-wal", "-shm"):
                    file.with_name(f"{file.name}{ending}").unlink(missing_ok=True)


def _databases() -> dict[str, Path]:
    """The SQLite databases of MLflow by their names in a backup: the home's, and another one that is in use."""
    used = _used()
    own = {"mlflow.db": databases.MLFLOW.file}
    return own if used is None or used == databases.MLFLOW.file else own | {"tracking.db": used}


def _used() -> Path | None:
    """The SQLite database that MLflow uses; None if it uses a server."""
    if not (address := os.environ.get(TRACKING, "").strip()):
        return databases.MLFLOW.file
    return databases.file_of(address).absolute() if address.lower().startswith("sqlite") else None


def _tracking() -> str:
    return without_secrets(os.environ.get(TRACKING, "").strip())


def _in_reach(database: Path) -> None:
    """Raise `UsageError` if a database names files that are neither in the home nor below the server's folder."""
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=60)) as opened:
            places = {place for (place,) in opened.execute(PLACES) if place and not place.startswith("models:")}
    except sqlite3.Error as error:
        raise UsageError(
            f"Expected a sound database of MLflow at {database}, but: {brief(error)}. headstart doctor says more."
        ) from None
    if others := sorted(place for place in places if not _kept(place)):
        raise UsageError(
            f"Expected all files of runs in {home()} or below {DESTINATION}, found {len(others)} places elsewhere, "
            f"among them {few(others, 1)}. Set {DESTINATION} to what holds them, or the home to its own path."
        )


def _kept(address: str) -> bool:
    """Whether a backup has the files at an address."""
    below, path = os.environ.get(DESTINATION, ""), _path(address)
    if address.startswith("mlflow-artifacts:"):
        return bool(below)
    if path is None:
        return bool(below) and f"{address}/".startswith(f"{below.rstrip('/')}/")
    if below and (other := _path(below)) and path.resolve().is_relative_to(other.resolve()):
        return True
    root = home().resolve()
    return path.resolve().is_relative_to(root) and path.resolve().relative_to(root).parts[:1] not in {
        (name,) for name in LEFT_OUT
    }


def _path(address: str) -> Path | None:
    """The path that an address of this machine is; None for another address."""
    if address.startswith("file:"):
        return Path(url2pathname(urlsplit(address).path))
    return None if "://" in address or address.startswith("mlflow-artifacts:") else Path(address)


def _copy(file: Path, to: Path) -> None:
    """A copy of a database that may be in use (https://sqlite.org/lang_vacuum.html#vacuuminto)."""
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=60)) as opened:
            opened.execute("VACUUM INTO ?", [str(to)])
    except sqlite3.Error as error:
        raise UsageError(f"Expected to copy {file} to {to}, but: {brief(error)}. {to.parent} is no backup.") from None


if __name__ == "__main__":
    try:
        step, folder, *options = sys.argv[1:]
        if options not in ([], [f"--{HOME_ONLY}"]):
            raise UsageError(f"Expected a folder and perhaps --{HOME_ONLY}, found {few(options)} after the folder.")
        if step == "begin":
            begin(Path(folder), bool(options))
        else:
            {"check": check, "end": end}[step](Path(folder))
        print(home())
    except HeadstartError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
