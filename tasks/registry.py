"""MLflow's model registry: versions, aliases, promotion. An alias is moved here and nowhere else."""

import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tasks import tracking
from tasks.errors import DataError, UsageError
from tasks.records import VersionRef

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CHALLENGER, CHAMPION, PREVIOUS = "challenger", "champion", "previous"
#: What a process needs to load a version; the versions are those that it was made with.
REQUIREMENTS = ("mlflow", "keras", "tensorflow", "numpy", "pandas")
SCRIPT = Path(__file__).parent / "serving" / "pyfunc.py"


def add(name: str, folder: Path, tags: dict[str, str], classes: tuple[str, ...], metrics: dict[str, float]) -> str:
    """Log the served folder as a model of the stage that is running, and register it; returns the version.

    The version carries the alias `challenger` only when everything about it is written.
    """
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Array

    signature = ModelSignature(
        Schema([ColSpec(DataType.binary, "image")]),
        Schema(
            [
                ColSpec(DataType.string, "label"),
                ColSpec(DataType.double, "probability"),
                ColSpec(Array(DataType.double), "probabilities"),
            ]
        ),
    )
    with mlflow.start_run(run_id=tracking.stage_run_id()):
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(SCRIPT),
            artifacts={"classifier": str(folder)},
            signature=signature,
            input_example=_example(),
            pip_requirements=requirements(folder / "network.keras"),
            metadata={"classes": list(classes)},
        )
        client = tracking.client()
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        version = client.create_model_version(
            name, logged.model_uri, tracking.stage_run_id(), tags=tags, model_id=logged.model_id
        ).version
    client.set_registered_model_alias(name, CHALLENGER, str(version))
    return str(version)


def requirements(network: Path) -> list[str]:
    """Packages, with the versions that are here, that a process needs to answer with a network."""
    hub = False
    if network.is_file():  # a `.keras` file, not the folder of a SavedModel
        with zipfile.ZipFile(network) as file:
            hub = "keras_hub" in file.read("config.json").decode()
    packages = (*REQUIREMENTS, "keras-hub") if hub else REQUIREMENTS
    return [f"{package}=={metadata.version(package)}" for package in packages]


def promote(name: str, version: str) -> None:
    """Make a version the champion; the champion until now becomes `previous`."""
    client = tracking.client()
    old = alias(name, CHAMPION)
    if old is not None and str(old.version) != version:
        client.set_registered_model_alias(name, PREVIOUS, old.version)
    client.set_registered_model_alias(name, CHAMPION, version)
    challenger = alias(name, CHALLENGER)
    if challenger is not None and str(challenger.version) == version:
        client.delete_registered_model_alias(name, CHALLENGER)


def alias(name: str, wanted: str) -> "ModelVersion | None":
    """The version that carries an alias, or None."""
    from mlflow.exceptions import MlflowException

    try:
        return tracking.client().get_model_version_by_alias(name, wanted)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def opponent(name: str, digest: str) -> str:
    """The version that a model with this digest has to be compared with; "" where there is none.

    A model that already is the champion is compared with what it replaced, so that the same run again gives the same
    verdict.
    """
    champion = alias(name, CHAMPION)
    if champion is None:
        return ""
    if champion.tags.get("headstart.digest") == digest:
        return champion.tags.get("headstart.opponent", "")
    return str(champion.version)


def versions(name: str | None = None) -> "Iterator[tuple[ModelVersion, tuple[str, ...]]]":
    """Every version of one model or of all, the newest first, with its aliases."""
    client = tracking.client()
    for model in client.search_registered_models(f"name = '{name}'" if name else None):
        found = client.search_model_versions(f"name = '{model.name}'")
        for version in sorted(found, key=lambda v: -int(v.version)):
            yield version, aliases(model.name, version.version)


def aliases(name: str, version: str) -> tuple[str, ...]:
    """Aliases of a version, sorted. Search results omit them (mlflow#16734): the model's own entry is asked."""
    model = tracking.client().get_registered_model(name)
    return tuple(sorted(alias for alias, v in model.aliases.items() if str(v) == str(version)))


def exists(version: VersionRef) -> bool:
    """Whether the registry still holds the version."""
    from mlflow.exceptions import MlflowException

    try:
        tracking.client().get_model_version(version.name, version.version)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    return True


def refreshed(version: VersionRef) -> VersionRef:
    """The record with the aliases that the version carries now."""
    return replace(version, aliases=aliases(version.name, version.version))


def resolve(address: str) -> tuple[str, str]:
    """`NAME@alias`, `NAME/version` or `NAME` (its champion) as (name, version). `UsageError` where there is none."""
    from mlflow.exceptions import MlflowException

    name, _, wanted = address.partition("@")
    name, slash, number = name.partition("/")
    found = None
    if slash:
        try:
            found = tracking.client().get_model_version(name, number)
        except MlflowException:
            found = None
    else:
        found = alias(name, wanted or CHAMPION)
    if found is None:
        known = [f"{v.name}/{v.version} {' '.join(a)}".strip() for v, a in versions()]
        raise UsageError(
            f"Expected a registered model such as NAME@champion, found no {address}. There is: {known or 'none'}."
        )
    return name, str(found.version)


def load(name: str, version: str) -> Any:
    """The version as MLflow's generic Python model."""
    import mlflow

    return mlflow.pyfunc.load_model(f"models:/{name}/{version}")


def predict(model: Any, paths: list[str], batch: int = 256) -> Iterator[pd.DataFrame]:
    """The model's answers for image files, some at a time, in order."""
    for start in range(0, len(paths), batch):
        yield model.predict(pd.DataFrame({"image": [Path(path).read_bytes() for path in paths[start : start + batch]]}))


def score(name: str, version: str, paths: list[str], classes: tuple[str, ...]) -> np.ndarray:
    """A version's probabilities for image files, float64[n, classes]; 0 for a class that it does not know."""
    model = load(name, version)
    own = {label: i for i, label in enumerate(model.metadata.metadata["classes"])}
    found = np.concatenate([np.stack(part["probabilities"].to_list()) for part in predict(model, paths)])
    columns = [found[:, own[label]] if label in own else np.zeros(len(found)) for label in classes]
    return np.stack(columns, axis=1)


def tables_in_use() -> set[str]:
    """Names of the tables that some registered version was trained from."""
    return {table for version, _ in versions() for table in version.tags.get("headstart.tables", "").split()}


def describe(version: "ModelVersion", aliases: tuple[str, ...]) -> dict[str, Any]:
    """What `headstart models` shows of a version."""
    tags = version.tags
    made = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
    return {
        "model": version.name,
        "version": str(version.version),
        "aliases": " ".join(aliases),
        "gate": tags.get("headstart.gate", ""),
        "reason": tags.get("headstart.gate_reason", ""),
        "backbone": tags.get("headstart.backbone", ""),
        "rung": tags.get("headstart.rung", ""),
        "data": tags.get("headstart.data", ""),
        "made": made.isoformat(timespec="seconds"),
    }


def answers(address: str, images: list[Path]) -> Iterator[dict[str, Any]]:
    """Label and probability of each image file by the version at `address`.

    Raises `UsageError` for a file that is not there, `DataError` for one that is no readable image.
    """
    absent = [str(path) for path in images if not path.is_file()]
    if absent:
        raise UsageError(f"Expected image files, found none at {', '.join(absent)}.")
    model = load(*resolve(address))
    for path in images:
        try:
            answer = next(predict(model, [str(path)])).iloc[0]
        except Exception as error:
            raise DataError(f"Expected an image that TensorFlow reads, found {path}: {str(error)[:200]}.") from error
        yield {"image": str(path), "label": str(answer["label"]), "probability": float(answer["probability"])}


def _example() -> pd.DataFrame:
    import io

    from PIL import Image

    data = io.BytesIO()
    Image.new("RGB", (32, 32), "grey").save(data, "PNG")
    return pd.DataFrame({"image": [data.getvalue()]})
