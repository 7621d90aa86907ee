"""Whether everything that a home and its registry hold is as it was written."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from mlflow.exceptions import MlflowException

from tasks.data import corrections
from tasks.runtime import outages
from tasks.runtime.errors import HeadstartError, brief
from tasks.runtime.home import home
from tasks.runtime.store import checks
from tasks.runtime.store.checks import Damage
from tasks.runtime.store.inventory import RESULTS
from tasks.services import tracking
from tasks.services.orchestration import results
from tasks.services.registry import ledger, registered_models, verification, versions
from tasks.services.tracking import outbox


def damaged() -> Iterator[Damage]:
    """All that is damaged; `again` says whether it can be computed again. Nothing is changed.

    What cannot: the databases with runs, versions and the ledger; files of versions; labels put right by hand; what
    MLflow has not had yet.
    """
    yield from checks.damaged()
    folder = Path(os.environ["PREFECT_LOCAL_STORAGE_PATH"])
    for key in results.damaged(folder):
        yield Damage(RESULTS, str(folder / key), "it has other bytes than were written")
    whole = True
    for database in (home() / "mlflow.db", home() / "prefect" / "prefect.db"):
        if wrong := _database(database):
            whole = False
            yield Damage("databases", str(database.relative_to(home())), wrong, again=False)
    for recipe in corrections.recipes():
        try:
            corrections.kept(recipe)
        except (HeadstartError, ValueError) as error:
            yield Damage("corrected labels", recipe, brief(error), again=False)
    for name, wrong in outbox.damaged():
        yield Damage("notes for MLflow", name, wrong, again=False)
    if whole:
        yield from _versions()
        for name in registered_models.names():
            for broken in ledger.examined(registered_models.model(name).tags)[1]:
                yield Damage("ledgers", name, broken, again=False)


def _versions() -> Iterator[Damage]:
    for version, _ in versions.versions():
        name, number = version.name, str(version.version)
        try:
            # Versions of the first releases have no seal.
            if seal := version.tags.get(versions.FINGERPRINT):
                with verification.opened(name, number, seal):
                    pass
            for table in (versions.DATA, versions.SPLITS):
                tracking.table(version.run_id, table)
        except (HeadstartError, MlflowException, OSError) as error:
            if outages.server(error):
                raise
            yield Damage("versions", f"{name}/{number}", brief(error), again=False)


def _database(file: Path) -> str:
    """What SQLite finds wrong with a database of its own; "" if it is sound, not there, or being written."""
    if not file.is_file():
        return ""
    try:
        with sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=60) as opened:
            (answer,) = opened.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        return "" if "locked" in str(error) else brief(error)
    return "" if answer == "ok" else str(answer).splitlines()[-1]
