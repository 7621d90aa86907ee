"""How a trained network becomes a version."""

import json
import zipfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from tasks.records import DatasetRef, VersionRef
from tasks.runtime.errors import UsageError
from tasks.services import tracking
from tasks.services.registry import registered_models, signing, verification, versions
from tasks.serving import golden

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import Model

#: Packages that a process needs to load a version, in the versions that it was made with.
REQUIREMENTS = ("mlflow-skinny", "keras", "tensorflow", "numpy", "pandas")
#: Tag of a version that is a copy: NAME/VERSION of the version that was trained.
COPY_OF = "headstart.copy_of"
#: MLflow's tag of a model with the versions that were made of it.
MADE = "mlflow.modelVersions"
SCRIPT = Path(__file__).parents[2] / "serving" / "pyfunc.py"


def add(name: str, folder: Path, expected: Path, tags: dict[str, str], classes: tuple[str, ...]) -> str:
    """Log the served folder as a model of the parent run, and register it; returns the version.

    `expected`: a folder named `golden`. The upload is downloaded again, sealed, and tested on the golden images: only a
    model that answers them as expected becomes a version. Raises `DataError` for others. A run has only one version,
    even if its stage is retried or a request was sent twice because its answer was lost.
    """
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model, ModelSignature
    from mlflow.tracking.context.registry import resolve_tags
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Array

    signing.check_keys(name)
    client, run = tracking.client(), tracking.current()
    if made := _of_run(run.id):
        return made
    signature = ModelSignature(
        Schema([ColSpec(DataType.binary, "image")]),
        Schema(
            [
                ColSpec(DataType.string, "label"),
                ColSpec(DataType.double, "probability"),
                ColSpec(Array(DataType.double), "probabilities"),
                ColSpec(Array(DataType.string), "set"),
                ColSpec(DataType.boolean, "abstain", required=False),
                ColSpec(DataType.double, "novelty"),
                ColSpec(DataType.boolean, "novel"),
            ]
        ),
    )
    # By its own call: `Model.log` gives a model every metric of a run, such as the seconds of each stage.
    about = resolve_tags(run.origin)
    model = client.create_logged_model(run.experiment, "model", run.id, about, tags, model_type="classifier")
    sent = _Pyfunc(run.id)
    logged = Model.log(
        artifact_path=None,
        model_id=model.model_id,
        flavor=sent,
        flavor_name="mlflow.pyfunc",
        validate_serving_input=False,
        python_model=str(SCRIPT),
        artifacts={"classifier": str(folder), "golden": str(expected)},
        signature=signature,
        input_example=_example(),
        pip_requirements=requirements(folder / "network.keras"),
        model_config={"column": ""},
        metadata={"classes": list(classes), signing.NAME: name, versions.SENT: run.sent},
    )
    client.log_outputs(run.id, [LoggedModelOutput(model.model_id, 0)])
    of_run = f"source_run_id = '{run.id}'"
    for other in list(tracking.every(client.search_logged_models, [run.experiment], of_run)):
        if other.model_id != logged.model_id:
            client.delete_logged_model(other.model_id)
    tags = tags | {versions.FINGERPRINT: verification.seal(name, logged.model_uri, logged.model_id, sent.digests)}
    if not registered_models.known(name):
        registered_models.create(name)
    client.create_model_version(name, logged.model_uri, run.id, tags=tags, model_id=logged.model_id)
    made = _of_run(run.id)
    _tell(logged.model_id, name, made)
    return made


def check_name(name: str) -> None:
    """Raise `UsageError` for the name of a model that holds copies of another one's versions."""
    if any(COPY_OF in version.tags for version in registered_models.versions(name)):
        raise UsageError(
            f"name: expected the name of a model to train, found {name}, which holds copies of another model's "
            "versions (headstart promote … --to). Choose another name."
        )


def copy(version: "ModelVersion", to: str, tags: dict[str, str]) -> str:
    """Copy a version to a registered model of another environment; returns the number of the copy.

    `tags`: those of the copy that differ. Its caller holds the lock of the other model. What was copied before is not
    copied again: it gets the tags.
    """
    client, of_it = tracking.client(), origin(version)
    tags = tags | {COPY_OF: "/".join(of_it)}
    made = next((other for other in registered_models.versions(to) if origin(other) == of_it), None)
    if made is None:
        trained = versions.find(*of_it) or version  # unless it was deleted
        source = f"models:/{trained.name}/{trained.version}"
        # As `copy_model_version` does, in one request with its tags: a version without them would be taken for one that
        # was trained as this model.
        made = client.create_model_version(
            *(to, source, trained.run_id, trained.tags | tags),
            description=trained.description,
            model_id=trained.model_id,
        )
        if COPY_OF not in trained.tags:
            _tell(trained.source.removeprefix("models:/"), to, made.version)
    for tag, value in tags.items():
        client.set_model_version_tag(to, made.version, tag, value)
    return str(made.version)


def origin(version: "ModelVersion") -> tuple[str, str]:
    """Name and number of the version that was trained: of this one, or of the one that it is a copy of."""
    name, _, number = version.tags.get(COPY_OF, f"{version.name}/{version.version}").partition("/")
    return name, number


def _tell(model_id: str, name: str, version: str) -> None:
    """Name a version on the page of its model, as MLflow's own registration does."""
    client = tracking.client()
    told = json.loads(client.get_logged_model(model_id).tags.get(MADE, "[]"))
    told.append({"name": name, "version": int(version)})
    client.set_logged_model_tags(model_id, {MADE: json.dumps(told)})


def score(version: VersionRef, dataset: DatasetRef, scores: dict[str, dict[str, float]]) -> None:
    """Metrics of the current run by split, such as `test_accuracy`; also of the version's model, if this run made it.

    A run that took the version from the cache names its model as an output too.
    """
    from mlflow.entities import LoggedModelOutput, Metric
    from mlflow.utils.time import get_current_time_millis

    client, run, now = tracking.client(), tracking.current(), get_current_time_millis()
    found = client.get_model_version(version.name, version.version)
    model = found.source.removeprefix("models:/")  # a database does not keep a version's `model_id`
    if not (own := found.run_id == run.id):
        client.log_outputs(run.id, [LoggedModelOutput(model, 0)])
    client.log_batch(
        run.id,
        metrics=[
            Metric(
                f"{split}_{name}",
                float(value),
                now,
                0,
                model_id=model if own else None,
                dataset_name=tracking.dataset_name(split),
                dataset_digest=dataset.digest,
                run_id=run.id,
            )
            for split, values in scores.items()
            for name, value in values.items()
        ],
    )


class _Pyfunc:
    """MLflow's flavor `pyfunc` without the answer that its `log_model` asks for: `seal` asks for more.

    `run_id`: of the run that the model is of. `digests`: of the files that were sent, by name.
    """

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.digests: dict[str, str] = {}

    def save_model(self, path: str, mlflow_model: "Model", validate_serving_input: bool, **options: Any) -> None:
        """Called by `Model.log`, which then sends the files."""
        import mlflow

        mlflow_model.run_id = self.run_id
        mlflow.pyfunc.save_model(path, mlflow_model=mlflow_model, **options)
        self.digests = golden.digests(Path(path))


def _of_run(run_id: str) -> str:
    """The version that a run made, "" for none; of several identical ones only the first is kept."""
    asked = tracking.every(tracking.client().search_model_versions, f"run_id = '{run_id}'")
    found = [version for version in asked if COPY_OF not in version.tags]
    found.sort(key=lambda version: int(version.version))
    for again in found[1:]:
        tracking.client().delete_model_version(again.name, again.version)
    return str(found[0].version) if found else ""


def _example() -> pd.DataFrame:
    import io

    from PIL import Image

    data = io.BytesIO()
    Image.new("RGB", (32, 32), "grey").save(data, "PNG")
    return pd.DataFrame({"image": [data.getvalue()]})


def requirements(network: Path) -> list[str]:
    """Packages, in the installed versions, that a process needs to predict with a network."""
    hub = False
    if network.is_file():  # a `.keras` file, not the folder of a SavedModel
        with zipfile.ZipFile(network) as file:
            hub = "keras_hub" in file.read("config.json").decode()
    packages = (*REQUIREMENTS, "keras-hub") if hub else REQUIREMENTS
    return [f"{package}=={metadata.version(package)}" for package in packages]
