"""What a run or a stage writes to MLflow."""

import json
import os
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tasks.records import DatasetRef, Trial
from tasks.runtime.errors import without_secrets
from tasks.runtime.home import home
from tasks.runtime.store import checksums
from tasks.services.tracking import context, outbox
from tasks.services.tracking.client import begin_run, client, log_batch
from tasks.services.tracking.context import CHECKSUM, DESCRIPTION, current

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from tasks.training.fit import History


#: How the files of tables end.
TABLE = ".json"


def log_files(folder: Path, to: str | None = None) -> None:
    """Upload a folder's files, which stay there, as artifacts of the running stage; outside a run it does nothing."""
    if own := context.active_notes.get():
        own.folders[str(folder)] = to


def log_to_run(folder: Path) -> None:
    """Upload a folder's files as artifacts of the parent run, whose page shows the tables of `write_table`."""
    client().log_artifacts(current().id, str(folder))
    if tables := [{"path": file.name, "type": "table"} for file in sorted(folder.glob(f"*{TABLE}"))]:
        client().set_tag(current().id, "mlflow.loggedArtifacts", json.dumps(tables))


def write_table(folder: Path, name: str, pixels: "np.ndarray", columns: dict[str, list[Any]]) -> None:
    """Write a table with an image uint8[h, w, 3] in each row, and these columns, as MLflow's `log_table` does.

    `log_table` itself writes into one run; a folder can be uploaded to each run that took the result from the cache.
    """
    from PIL import Image

    shown = []
    (folder / "table_images" / name).mkdir(parents=True)
    for number, each in enumerate(pixels):
        files = [f"table_images/{name}/{number:03}.{ending}" for ending in ("png", "webp")]
        for file in files:
            Image.fromarray(each).save(folder / file)
        shown.append({"type": "image", "filepath": files[0], "compressed_filepath": files[1]})
    whole = {"image": shown, **columns}
    rows = [list(row) for row in zip(*whole.values(), strict=True)]
    (folder / f"{name}{TABLE}").write_text(json.dumps({"columns": list(whole), "data": rows}), encoding="utf-8")


def log_drawn(name: str, draw: Callable[[Path], None]) -> None:
    """Upload a file that `draw` writes, as an artifact of the running stage; outside a run it does nothing."""
    if own := context.active_notes.get():
        draw(own.drawn / name)


def log_table(name: str, rows: "pd.DataFrame") -> None:
    """Upload a Parquet table as an artifact of the parent run, whose tag has the checksum; outside a run nothing.

    It is sent at once: what the stage does next, such as to register a version, may count on it.
    """
    if context.active_notes.get():
        run_id = current().id
        with TemporaryDirectory() as folder:
            rows.to_parquet(file := Path(folder, name))
            client().log_artifact(run_id, str(file))
            client().set_tag(run_id, f"{CHECKSUM}{name}", f"{checksums.of_file(file):08x}")
            current().sent[name] = sha256(file.read_bytes()).hexdigest()


def log_tag(name: str, value: str) -> None:
    """Tag the running stage; outside a run it does nothing."""
    if own := context.active_notes.get():
        own.tags[name] = value


def log_series(name: str, values: list[float], times: list[int] | None = None) -> None:
    """One metric over steps 0, 1, … of the running stage; outside a run it does nothing.

    `times`: of the values, milliseconds since 1970.
    """
    if own := context.active_notes.get():
        own.series[name] = [float(value) for value in values]
        own.times[name] = times or []


def log_file(run_id: str, file: Path) -> None:
    """Upload a file as an artifact of a run."""
    client().log_artifact(run_id, str(file))


def log_result(tags: dict[str, str], metrics: dict[str, float]) -> None:
    """Tags and metrics of the parent run, for `results` of later runs."""
    log_batch(current().id, metrics=metrics)
    # The tags last: a run that is found by a tag then has its metrics.
    for name, value in tags.items():
        client().set_tag(current().id, name, value)


def describe(text: str) -> None:
    """The description on the page of the parent run, Markdown."""
    client().set_tag(current().id, DESCRIPTION, text)


def log_curve(name: str, values: dict[int, float]) -> None:
    """One metric of the parent run over the steps that are given, such as numbers of training images."""
    from mlflow.entities import Metric
    from mlflow.utils.time import get_current_time_millis

    now = get_current_time_millis()
    client().log_batch(current().id, metrics=[Metric(name, float(v), now, step) for step, v in values.items()])


def log_epochs(history: "History") -> None:
    """Send the losses of a training that goes on; outside a run it does nothing."""
    if sender := context.active_epochs.get():
        sender.tell(history)


def log_losses(history: "History") -> None:
    """The losses of each epoch of a finished training."""
    log_series("loss", history.loss, history.ended)
    log_series("validation_loss", history.validation_loss, history.ended)


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
    run_id = begin_run(current().experiment, current().origin | tags, began)
    points = [(key, value, 0) for key, value in metrics.items()]
    points += [(key, value, step) for key, values in series.items() for step, value in values.items()]
    client().log_batch(
        run_id,
        metrics=[Metric(key, float(value), ended, step) for key, value, step in points],
        params=[Param(key, str(value)) for key, value in params.items()],
    )
    client().set_terminated(run_id, "FINISHED", ended)


#: MLflow's words for what a split is used for.
CONTEXTS = {"train": "training", "validation": "validation", "test": "testing"}


def dataset_name(split: str) -> str:
    """The name in MLflow of the images of a split of the current run's data set."""
    return f"{current().name}: {split}"


def log_dataset(dataset: DatasetRef) -> None:
    """Name the data set as inputs of the parent run, one for each split, with its columns and numbers of images."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    file = home() / dataset.path
    schema = json.dumps({"mlflow_colspec": _columns(file)})
    given = []
    for split, images in dataset.counts.items():
        data = Dataset(
            name=dataset_name(split),
            digest=dataset.digest,
            source_type="local",
            source=json.dumps({"uri": file.as_uri()}),
            schema=schema,
            profile=json.dumps({"num_rows": images, "classes": len(dataset.classes)}),
        )
        given.append(DatasetInput(data, [InputTag("mlflow.data.context", CONTEXTS.get(split, split))]))
    client().log_inputs(current().id, given)


def _columns(file: Path) -> list[dict[str, Any]]:
    """The columns of a Parquet file, as MLflow writes a schema."""
    import pyarrow.parquet as pq
    from mlflow.types import ColSpec, DataType

    found = []
    for field in pq.read_schema(file):
        kinds = {"int64": DataType.long, "double": DataType.double, "bool": DataType.boolean}
        found.append(ColSpec(kinds.get(str(field.type), DataType.string), field.name).to_dict())
    return found


def send(run_id: str, digest: str, own: outbox.Notes) -> None:
    """Log the stage's notes or, if it made none now, those that an earlier run could not send."""
    from mlflow.entities import Metric
    from mlflow.utils.time import get_current_time_millis

    each = outbox.kept(digest) if own.empty else own
    if each and not each.empty:
        metrics = []
        for name, values in each.series.items():
            times = each.times.get(name) or [get_current_time_millis()] * len(values)
            metrics += [Metric(name, values[step], times[step], step) for step in range(len(values))]
        for folder, to in {str(each.drawn): None, **each.folders}.items():
            client().log_artifacts(run_id, folder, to)
        client().log_batch(run_id, metrics=metrics)
        # The tags last: a run that is found by a tag then has the rest.
        for name, value in each.tags.items():
            client().set_tag(run_id, name, value)
    outbox.drop(digest)


def page(artifact: str = "") -> str:
    """The page of the parent run on the tracking server, or of an artifact of it; "" if there is no server."""
    server = without_secrets(os.environ.get("MLFLOW_TRACKING_URI", ""))
    if not server.startswith("http"):
        return ""
    tail = f"/artifacts/{artifact}" if artifact else ""
    return f"{server.rstrip('/')}/#/experiments/{current().experiment}/runs/{current().id}{tail}"


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
