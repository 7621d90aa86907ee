"""What a run or a stage writes to MLflow."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tasks.records import DatasetRef, Trial
from tasks.runtime.errors import without_secrets
from tasks.runtime.home import home
from tasks.runtime.store import checksums
from tasks.services.tracking import context, outbox
from tasks.services.tracking.client import begin_run, client, log_batch
from tasks.services.tracking.context import CHECKSUM, current

if TYPE_CHECKING:
    import pandas as pd


def log_files(folder: Path, to: str | None = None) -> None:
    """Upload a folder's files, which stay there, as artifacts of the running stage; outside a run it does nothing."""
    if own := context.active_notes.get():
        own.folders[str(folder)] = to


def log_drawn(name: str, draw: Callable[[Path], None]) -> None:
    """Upload a file that `draw` writes, as an artifact of the running stage; outside a run it does nothing."""
    if own := context.active_notes.get():
        draw(own.drawn / name)


def log_table(name: str, rows: "pd.DataFrame") -> None:
    """Upload a Parquet table as an artifact of the running stage, whose tag has the checksum; outside a run nothing.

    It is sent at once: what the stage does next, such as to register a version, may count on it.
    """
    if context.active_notes.get():
        run_id = context.stage_run_id()
        with TemporaryDirectory() as folder:
            rows.to_parquet(file := Path(folder, name))
            client().log_artifact(run_id, str(file))
            client().set_tag(run_id, f"{CHECKSUM}{name}", f"{checksums.of_file(file):08x}")


def log_tag(name: str, value: str) -> None:
    """Tag the running stage; outside a run it does nothing."""
    if own := context.active_notes.get():
        own.tags[name] = value


def log_series(name: str, values: list[float]) -> None:
    """One metric over steps 0, 1, … (epochs) of the running stage; outside a run it does nothing."""
    if own := context.active_notes.get():
        own.series[name] = [float(value) for value in values]


def log_file(run_id: str, file: Path) -> None:
    """Upload a file as an artifact of a run."""
    client().log_artifact(run_id, str(file))


def log_result(tags: dict[str, str], metrics: dict[str, float]) -> None:
    """Tags and metrics of the parent run, for `results` of later runs."""
    log_batch(current().id, metrics=metrics)
    # The tags last: a run that is found by a tag then has its metrics.
    for name, value in tags.items():
        client().set_tag(current().id, name, value)


def log_curve(name: str, values: dict[int, float]) -> None:
    """One metric of the parent run over the steps that are given, such as numbers of training images."""
    from mlflow.entities import Metric

    client().log_batch(current().id, metrics=[Metric(name, float(v), 0, step) for step, v in values.items()])


def log_losses(loss: list[float], validation_loss: list[float]) -> None:
    """The losses of each epoch of a training."""
    log_series("loss", loss)
    log_series("validation_loss", validation_loss)


def log_trial(
    name: str,
    tags: dict[str, str],
    params: dict[str, Any],
    metrics: dict[str, float],
    series: dict[str, dict[int, float]],
    span: tuple[int, int],
) -> None:
    """Log a finished run under the running stage, in three calls; outside a run it does nothing.

    `series`: metrics over steps. `span`: its start and end, milliseconds since 1970.
    """
    from mlflow.entities import Metric, Param

    if not (parent := context.active_stage.get()):
        return
    began, ended = span
    tags = {"mlflow.runName": name, "mlflow.parentRunId": parent} | tags
    run_id = begin_run(current().experiment, tags, began)
    points = [(key, value, 0) for key, value in metrics.items()]
    points += [(key, value, step) for key, values in series.items() for step, value in values.items()]
    client().log_batch(
        run_id,
        metrics=[Metric(key, float(value), ended, step) for key, value, step in points],
        params=[Param(key, str(value)) for key, value in params.items()],
    )
    client().set_terminated(run_id, "FINISHED", ended)


def log_dataset(dataset: DatasetRef) -> None:
    """Name the data set, with its digest and number of images, as the input of the parent run."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    data = Dataset(
        name=current().name,
        digest=dataset.digest,
        source_type="local",
        source=f'{{"uri": "{home() / dataset.path}"}}',
        profile=str(dataset.counts).replace("'", '"'),
    )
    client().log_inputs(current().id, [DatasetInput(data, [InputTag("mlflow.data.context", "training")])])


def send(run_id: str, digest: str, own: outbox.Notes) -> None:
    """Log the stage's notes, after those that an earlier run could not send."""
    from mlflow.entities import Metric

    for each in (outbox.kept(digest), own):
        if each is None or each.empty:
            continue
        metrics = [Metric(name, v, 0, step) for name, values in each.series.items() for step, v in enumerate(values)]
        for folder, to in {str(each.drawn): None, **each.folders}.items():
            client().log_artifacts(run_id, folder, to)
        client().log_batch(run_id, metrics=metrics)
        # The tags last: a run that is found by a tag then has the rest.
        for name, value in each.tags.items():
            client().set_tag(run_id, name, value)
    outbox.drop(digest)


def link(artifact: str) -> str:
    """The page of an artifact of the running stage on the tracking server; "" if there is no server."""
    server = without_secrets(os.environ.get("MLFLOW_TRACKING_URI", ""))
    if not server.startswith("http"):
        return ""
    return (
        f"{server.rstrip('/')}/#/experiments/{current().experiment}/runs/{context.stage_run_id()}/artifacts/{artifact}"
    )


def log_trials(kind: str, trials: Iterable[Trial], began: float) -> None:
    """Log each trial of a search as a run, one after the other; `began`: seconds since 1970."""
    for number, trial in enumerate(trials):
        ended = began + trial.seconds
        numbers = {"log_loss": trial.log_loss, "accuracy": trial.accuracy, "images_per_second": trial.images_per_second}
        log_trial(
            f"{kind} {number}",
            {
                "headstart.trial": "taken" if trial.taken else "tried" if trial.log_loss else "skipped",
                "headstart.stage": "trial",
            },
            {"what": trial.what, "name": trial.name, "reason": trial.reason},
            numbers if trial.log_loss else {},
            {},
            (int(began * 1000), int(ended * 1000)),
        )
        began = ended
