"""How a trained network becomes a version."""

import zipfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from tasks.services import tracking
from tasks.services.registry import registered_models, signing, verification
from tasks.services.registry.versions import FINGERPRINT
from tasks.serving import golden

if TYPE_CHECKING:
    from mlflow.models import Model

#: Packages that a process needs to load a version, in the versions that it was made with.
REQUIREMENTS = ("mlflow", "keras", "tensorflow", "numpy", "pandas")
SCRIPT = Path(__file__).parents[2] / "serving" / "pyfunc.py"


def add(name: str, folder: Path, expected: Path, tags: dict[str, str], classes: tuple[str, ...]) -> str:
    """Log the served folder as a model of the running stage, and register it; returns the version.

    `expected`: a folder named `golden`. The upload is downloaded again, sealed, and tested on the golden images: only a
    model that answers them as expected becomes a version. Raises `DataError` for others. A stage has only one version,
    even if it is retried or a request was sent twice because its answer was lost.
    """
    import mlflow
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Array

    signing.check_keys()
    run_id = tracking.stage_run_id()
    if made := _of_run(run_id):
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
    sent = _Pyfunc()
    with mlflow.start_run(run_id=run_id):
        logged = Model.log(
            artifact_path=None,
            name="model",
            flavor=sent,
            flavor_name="mlflow.pyfunc",
            validate_serving_input=False,
            python_model=str(SCRIPT),
            artifacts={"classifier": str(folder), "golden": str(expected)},
            signature=signature,
            input_example=_example(),
            pip_requirements=requirements(folder / "network.keras"),
            metadata={"classes": list(classes), signing.NAME: name},
        )
    client = tracking.client()
    of_run = f"source_run_id = '{run_id}'"
    for other in list(tracking.every(client.search_logged_models, [tracking.current().experiment], of_run)):
        if other.model_id != logged.model_id:
            client.delete_logged_model(other.model_id)
    tags = tags | {FINGERPRINT: verification.seal(name, logged.model_uri, logged.model_id, sent.digests)}
    if not registered_models.known(name):
        registered_models.create(name)
    client.create_model_version(name, logged.model_uri, run_id, tags=tags, model_id=logged.model_id)
    return _of_run(run_id)


class _Pyfunc:
    """MLflow's flavor `pyfunc` without the answer that its `log_model` asks for: `seal` asks for more.

    `digests`: of the files that were sent, by name.
    """

    def __init__(self) -> None:
        self.digests: dict[str, str] = {}

    def save_model(self, path: str, mlflow_model: "Model", validate_serving_input: bool, **options: Any) -> None:
        """Called by `Model.log`, which then sends the files."""
        import mlflow

        mlflow.pyfunc.save_model(path, mlflow_model=mlflow_model, **options)
        self.digests = golden.digests(Path(path))


def _of_run(run_id: str) -> str:
    """The version that a stage's run made, "" for none; of several identical ones only the first is kept."""
    found = list(tracking.every(tracking.client().search_model_versions, f"run_id = '{run_id}'"))
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
