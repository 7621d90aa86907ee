"""MLflow's model registry: versions, their files, tags and aliases.

An alias is moved by `place` and nowhere else, which is for `tasks/services/registry/promotion.py` to call: it holds the
lock.
"""

import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tasks.records import VersionRef
from tasks.runtime.errors import DataError, DependencyError, UsageError
from tasks.services import tracking
from tasks.services.registry import verification

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

CHALLENGER, CHAMPION, PREVIOUS = "challenger", "champion", "previous"
#: Artifact of the run that registers a version: the images that it was made from.
DATA = "data.parquet"
FINGERPRINT, NOTE = "headstart.fingerprint", "headstart.note"
#: What a process needs to load a version; the versions are those that it was made with.
REQUIREMENTS = ("mlflow", "keras", "tensorflow", "numpy", "pandas")
SCRIPT = Path(__file__).parents[2] / "serving" / "pyfunc.py"


def add(name: str, folder: Path, expected: Path, tags: dict[str, str], classes: tuple[str, ...]) -> str:
    """Log the served folder as a model of the stage that is running, and register it; returns the version.

    `expected`: a folder named `golden`. What was uploaded is fetched again, sealed, and asked for the golden images:
    only a model that shows its fingerprint becomes a version. Raises `DataError` for one that does not. A stage has one
    version, also where it is tried again and where a request was sent twice because its answer was lost.
    """
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Array

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
                ColSpec(DataType.boolean, "abstain"),
                ColSpec(DataType.double, "novelty"),
                ColSpec(DataType.boolean, "novel"),
            ]
        ),
    )
    with mlflow.start_run(run_id=run_id):
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(SCRIPT),
            artifacts={"classifier": str(folder), "golden": str(expected)},
            signature=signature,
            input_example=_example(),
            pip_requirements=requirements(folder / "network.keras"),
            metadata={"classes": list(classes)},
        )
    client = tracking.client()
    for other in client.search_logged_models([tracking.current().experiment], f"source_run_id = '{run_id}'"):
        if other.model_id != logged.model_id:
            client.delete_logged_model(other.model_id)
    tags = tags | {FINGERPRINT: verification.seal(name, logged.model_uri, logged.model_id)}
    if not known(name):
        _create(name)
    client.create_model_version(name, logged.model_uri, run_id, tags=tags, model_id=logged.model_id)
    return _of_run(run_id)


def _create(name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        tracking.client().create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another run was faster, or this one asked twice
            raise


def _of_run(run_id: str) -> str:
    """The version that a stage's run made, "" for none; of several, which differ in nothing, the first stays alone."""
    found = sorted(tracking.client().search_model_versions(f"run_id = '{run_id}'"), key=lambda v: int(v.version))
    for again in found[1:]:
        tracking.client().delete_model_version(again.name, again.version)
    return str(found[0].version) if found else ""


def verify(name: str, version: str) -> dict[str, Any]:
    """Ask a version for its fingerprint, on this machine. Raises `DataError` naming what differs, and by how much."""
    sealed = fingerprint(name, version)
    images, apart = verification.verify(name, version, sealed)
    return {"model": name, "version": version, "fingerprint": sealed, "images": images, "largest_difference": apart}


def fingerprint(name: str, version: str) -> str:
    """What a version was sealed with; "" where it was not."""
    return version_of(name, version).tags.get(FINGERPRINT, "")


def requirements(network: Path) -> list[str]:
    """Packages, with the versions that are here, that a process needs to answer with a network."""
    hub = False
    if network.is_file():  # a `.keras` file, not the folder of a SavedModel
        with zipfile.ZipFile(network) as file:
            hub = "keras_hub" in file.read("config.json").decode()
    packages = (*REQUIREMENTS, "keras-hub") if hub else REQUIREMENTS
    return [f"{package}=={metadata.version(package)}" for package in packages]


def place(name: str, wanted: dict[str, str]) -> None:
    """Make champion, challenger and previous what is wanted, no less and no more, and read them back."""
    client, now = tracking.client(), aliases_of(name)
    for which in (PREVIOUS, CHAMPION, CHALLENGER):
        if wanted.get(which, "") != now.get(which, ""):
            if which in wanted:
                client.set_registered_model_alias(name, which, wanted[which])
            else:
                client.delete_registered_model_alias(name, which)
    found = aliases_of(name)
    if found != wanted:
        raise DependencyError(f"Expected the aliases {wanted} of {name} after moving them, found {found}.")


def aliases_of(name: str) -> dict[str, str]:
    """Version by alias, of the aliases that Headstart moves."""
    found = model(name).aliases
    return {which: str(found[which]) for which in (CHALLENGER, CHAMPION, PREVIOUS) if which in found}


def address() -> str:
    """Where the registry is."""
    import mlflow

    return str(mlflow.get_registry_uri())


def known(name: str) -> bool:
    """Whether there is a registered model of this name."""
    return _model(name) is not None


def names() -> list[str]:
    """All registered models."""
    return [found.name for found in tracking.client().search_registered_models()]


def model(name: str) -> "RegisteredModel":
    """The registered model, with its tags and aliases. Raises `UsageError` where there is none."""
    found = _model(name)
    if found is None:
        there = ", ".join(names()) or "none"
        raise UsageError(f"Expected a registered model, found none named {name}. There is: {there}.")
    return found


def _model(name: str) -> "RegisteredModel | None":
    from mlflow.exceptions import MlflowException

    try:
        return tracking.client().get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def tag_model(name: str, tag: str, text: str) -> None:
    """Set a tag of the registered model."""
    tracking.client().set_registered_model_tag(name, tag, text)


def untag_model(name: str, tag: str) -> None:
    """Remove a tag of the registered model."""
    tracking.client().delete_registered_model_tag(name, tag)


def version_of(name: str, version: str) -> "ModelVersion":
    """A version with its tags. Raises `UsageError` where there is none."""
    if not there(name, version):
        numbers = ", ".join(str(found.version) for found, _ in versions(name)) or "none"
        raise UsageError(f"Expected a version of {name}, found no {version}. There is: {numbers}.")
    return tracking.client().get_model_version(name, version)


def note(name: str, version: str, text: str) -> None:
    """Write down why a version is no champion yet; "" when nothing is to be said any more."""
    tracking.client().set_model_version_tag(name, version, NOTE, text)


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


def newest(name: str) -> str:
    """The newest version of a model; "" where there is none."""
    return next((str(version.version) for version, _ in versions(name)), "") if known(name) else ""


def data_of(name: str, version: str) -> pd.DataFrame | None:
    """`key`, `label` and `split` of every image that a version was made from; None where that is not known."""
    return tracking.table(version_of(name, version).run_id, DATA)


def hits(name: str, version: str) -> tuple[int, int] | None:
    """How many of its test images a version got right, and how many there were; None where that is not known."""
    tags = version_of(name, version).tags
    right, images = tags.get("headstart.test_right"), tags.get("headstart.test_images")
    return (int(right), int(images)) if right and images else None


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
    return there(version.name, version.version)


def there(name: str, version: str) -> bool:
    """Whether the registry holds a version."""
    from mlflow.exceptions import MlflowException

    try:
        tracking.client().get_model_version(name, version)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return False
        raise
    return True


def refreshed(version: VersionRef) -> VersionRef:
    """The record with the aliases that the version carries now, and the note."""
    tags = version_of(version.name, version.version).tags
    return replace(version, aliases=aliases(version.name, version.version), note=tags.get(NOTE, ""))


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


def annotate(version: VersionRef, description: str) -> None:
    """Write what a version's page in MLflow says of it, Markdown."""
    tracking.client().update_model_version(version.name, version.version, description)


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
        "note": tags.get(NOTE, ""),
        "backbone": tags.get("headstart.backbone", ""),
        "rung": tags.get("headstart.rung", ""),
        "data": tags.get("headstart.data", ""),
        "made": made.isoformat(timespec="seconds"),
    }


def answers(address: str, images: list[Path]) -> Iterator[dict[str, Any]]:
    """Of each image file, what the version at `address` says: label and probability, and how far to believe them.

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
        said = answer.drop("probabilities").to_dict()
        yield {"image": str(path)} | {name: getattr(value, "item", lambda v=value: v)() for name, value in said.items()}


def _example() -> pd.DataFrame:
    import io

    from PIL import Image

    data = io.BytesIO()
    Image.new("RGB", (32, 32), "grey").save(data, "PNG")
    return pd.DataFrame({"image": [data.getvalue()]})
