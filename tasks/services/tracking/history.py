"""What earlier runs wrote to MLflow."""

import shutil
from collections.abc import Iterator
from hashlib import sha256
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pandas as pd
from pyarrow.lib import ArrowException

from tasks.runtime.errors import DependencyError, brief, without_secrets
from tasks.runtime.store import checksums
from tasks.runtime.store.writing import replacing
from tasks.services.tracking.client import client, every
from tasks.services.tracking.context import CHECKSUM, current

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun


#: Tag of a data check: `train` or `skip`.
RETRAIN = "headstart.retrain"
#: Tags of an assessment of new data: the version that they are new since, and a digest of what was looked at.
SINCE, LOOK = "headstart.since", "headstart.look"


def results(name: str, value: str) -> list[tuple[dict[str, str], dict[str, float]]]:
    """Tags and metrics of the experiment's runs whose tag `name` has this value, the newest first."""
    query, order = f"tags.`{name}` = '{value}'", ["attributes.start_time DESC"]
    found = every(client().search_runs, [current().experiment], query, order_by=order)
    return [(run.data.tags, run.data.metrics) for run in found]


def decided(before: str) -> list[dict[str, str]]:
    """Tags of the gate stages, of any experiment, that compared two models, the oldest first, each once.

    `before`: digest of the stage that asks; this stage and later ones are left out.
    """
    experiments = [each.experiment_id for each in every(client().search_experiments)]
    query, order = "tags.`headstart.stage` = 'gate' and tags.`headstart.test_set` != ''", ["attributes.start_time ASC"]
    found: dict[str, dict[str, str]] = {}
    for run in every(client().search_runs, experiments, query, order_by=order):
        if run.data.tags["headstart.digest"] == before:
            break
        found.setdefault(run.data.tags["headstart.digest"], run.data.tags)
    return list(found.values())


def newest(stage: str, dataset: str) -> str:
    """The newest finished run of a stage, in the experiment, on the data set with this digest; "" if there is none."""
    query = f"tags.`headstart.stage` = '{stage}' and attributes.status = 'FINISHED'"
    order = ["attributes.start_time DESC"]
    for run in every(client().search_runs, [current().experiment], query, order_by=order, max_results=20):
        parent = client().get_run(run.data.tags["mlflow.parentRunId"])
        if any(each.dataset.digest == dataset for each in parent.inputs.dataset_inputs):
            return run.info.run_id
    return ""


def fetched(stage: str, dataset: str, name: str, to: Path) -> Path | None:
    """An artifact of the run that `newest` finds, downloaded into a folder; None if there is none."""
    run_id = newest(stage, dataset)
    if not run_id or not _has(run_id, name):
        return None
    return Path(client().download_artifacts(run_id, name, str(to)))


def last(name: str, stage: str, artifact: str, to: Path) -> bool:
    """Download an artifact of the newest finished run of a stage in the experiment to a file; False if none has it.

    A run that took the stage from the cache has the artifacts of the run that computed it.
    """
    digest = None
    for run in _finished(name, f"tags.`headstart.stage` = '{stage}'"):
        digest = digest or run.data.tags["headstart.digest"]
        if run.data.tags["headstart.digest"] == digest and _has(run.info.run_id, artifact):
            with TemporaryDirectory() as folder, replacing(to) as working:
                shutil.copyfile(client().download_artifacts(run.info.run_id, artifact, folder), working)
            return True
    return False


def table(run_id: str, name: str, sealed: str = "") -> pd.DataFrame | None:
    """A Parquet file among a run's artifacts; None if there is none, or no run.

    Raises `DependencyError` if it is not as `log_table` wrote it, or cannot be read. `sealed`: its SHA-256 as somebody
    who may change artifacts and tags could not have changed it.
    """
    if not run_id:
        return None
    expected = client().get_run(run_id).data.tags.get(f"{CHECKSUM}{name}")
    if not _has(run_id, name):
        if expected:
            raise _damaged(run_id, name, "none")
        return None
    with TemporaryDirectory() as folder:
        file = Path(client().download_artifacts(run_id, name, folder))
        if (expected and expected != f"{checksums.of_file(file):08x}") or _other(file.read_bytes(), sealed):
            raise _damaged(run_id, name, "other bytes")
        try:
            return pd.read_parquet(file)
        except (ArrowException, OSError, ValueError) as error:
            raise _damaged(run_id, name, brief(error)) from None


def text(run_id: str, name: str, sealed: str) -> str | None:
    """A text among a run's artifacts; None if there is none, or no run.

    Raises `DependencyError` if `sealed` is not its SHA-256.
    """
    if not run_id or not _has(run_id, name):
        return None
    with TemporaryDirectory() as folder:
        found = Path(client().download_artifacts(run_id, name, folder)).read_bytes()
    if _other(found, sealed):
        raise _damaged(run_id, name, "other bytes")
    return found.decode()


def _other(found: bytes, sealed: str) -> bool:
    return bool(sealed) and sha256(found).hexdigest() != sealed


def _damaged(run_id: str, name: str, found: str) -> DependencyError:
    return DependencyError(
        f"Expected {name} of MLflow's run {run_id} as it was written, found {found}. Put the file of a backup in its "
        f"place: {without_secrets(artifact_uri(run_id, name))}. Without one, delete the version that this run made, "
        "and train again."
    )


def skipped(name: str) -> int:
    """How many of a recipe's data checks, since the last one that trained, have ended without training."""
    decisions = (run.data.tags[RETRAIN] for run in _finished(name, f"tags.`{RETRAIN}` != ''"))
    return sum(1 for _ in takewhile(lambda decision: decision != "train", decisions))


def looks(name: str, version: str) -> tuple[str, ...]:
    """What a recipe's assessments of data that are new since a version have looked at, the oldest first, each once."""
    found = [run.data.tags[LOOK] for run in _finished(name, f"tags.`{SINCE}` = '{version}'")]
    return tuple(dict.fromkeys(reversed(found)))


def _finished(name: str, which: str) -> "Iterator[MlflowRun]":
    """The finished runs of an experiment, the newest first; none if there is no such experiment."""
    if experiment := client().get_experiment_by_name(name):
        query, order = f"{which} and attributes.status = 'FINISHED'", ["attributes.start_time DESC"]
        yield from every(client().search_runs, [experiment.experiment_id], query, order_by=order)


def _has(run_id: str, artifact: str) -> bool:
    return artifact in {file.path for file in client().list_artifacts(run_id)}


def artifact_uri(run_id: str, path: str) -> str:
    """Where an artifact of a run is."""
    return f"{client().get_run(run_id).info.artifact_uri}/{path}"
