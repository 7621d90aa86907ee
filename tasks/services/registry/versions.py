"""MLflow's model registry: versions, their files, tags and aliases.

Aliases are moved only by `registered_models.place`, which only `tasks/services/registry/promotion.py` calls: it holds
the lock.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from tasks.data import changes
from tasks.records import SearchRef, VersionRef
from tasks.runtime.errors import UsageError
from tasks.services import tracking
from tasks.services.registry import registered_models, signing, verification
from tasks.services.registry.registered_models import CHAMPION

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

#: Artifact of the run that registers a version: the images that it was made from.
DATA = "data.parquet"
#: Another one: `key`, `uri` and `label` of its test images, and its probabilities.
TEST = "test.parquet"
#: A third one: the split, by key, of every image that this version or one before it was made from.
SPLITS = "splits.parquet"
#: Tag of a model: the newest version when a fresh test set was asked for, and the salt of its draw.
FRESH = "headstart.fresh_test_set"
#: Tag of a version: what was chosen for it, and when that is chosen again.
SEARCH = "headstart.search"
#: Others: whether it was trained on validation images too, and the version that its training went on from.
REFIT, STARTED_FROM = "headstart.refit", "headstart.started_from"
#: Metadata of a version's model, which its seal covers: SHA-256 of artifacts of the run, by name.
SENT = "headstart.artifacts"
#: Characters of a version's description in MLflow's tables.
LONGEST = 5000
FINGERPRINT, NOTE = "headstart.fingerprint", "headstart.note"


def verify(name: str, version: str) -> dict[str, Any]:
    """Check that a version's files and answers are as at registration. Raises `DataError` naming what differs."""
    sealed = seal(name, version)
    images, largest = verification.verify(name, version, sealed)
    found = {"model": name, "version": version, "fingerprint": sealed, "signature_checked": signing.wanted()}
    return found | {"images": images, "largest_difference": largest}


def metadata(name: str, version: str) -> dict[str, Any]:
    """What a version's model says of itself. Raises `DataError` if a file is not as at registration."""
    from mlflow.models import Model

    with verification.opened(name, version, seal(name, version)) as folder:
        return dict(Model.load(str(folder)).metadata or {})


def seal(name: str, version: str) -> str:
    """A version's seal; "" if it has none."""
    return version_of(name, version).tags.get(FINGERPRINT, "")


def identity(name: str, version: str) -> tuple[str, str]:
    """A version's number and seal: another registry may have another version of this number. "" without one."""
    found = find(name, version) if version else None
    return version, found.tags.get(FINGERPRINT, "") if found else ""


def find(name: str, version: str) -> "ModelVersion | None":
    """A version with its tags; None if the registry holds no such version."""
    if not registered_models.known(name):
        return None
    return registered_models.if_there(lambda: tracking.client().get_model_version(name, version))


def version_of(name: str, version: str) -> "ModelVersion":
    """A version with its tags. Raises `UsageError` if there is none."""
    found = find(name, version)
    if found is None:
        numbers = ", ".join(str(other.version) for other, _ in versions(name)) or "none"
        raise UsageError(f"Expected a version of {name}, found no {version}. Registered: {numbers}.")
    return found


def note(name: str, version: str, text: str) -> None:
    """Write down why a version is not the champion yet; "" clears the note."""
    tracking.client().set_model_version_tag(name, version, NOTE, text)


def newest(name: str) -> str:
    """The newest version of a model; "" if there is none."""
    return next((str(version.version) for version, _ in versions(name)), "") if registered_models.known(name) else ""


def data_of(name: str, version: str) -> pd.DataFrame | None:
    """`key`, `label`, `split` and, in newer versions, more of every image that a version was made from.

    That is `group`, facts, columns of the source and `unit`, which copies and groups share. None if that is not known.
    """
    return tracking.table(version_of(name, version).run_id, DATA)


def seen_by(name: str, version: str) -> pd.Series | None:
    """The split, by key, of every image that a version or one before it was made from, as `register` remembers it.

    None if that is not known.
    """
    data = tracking.table(version_of(name, version).run_id, SPLITS)
    return None if data is None else data.drop_duplicates("key").set_index("key")["split"]


def searched(name: str) -> SearchRef | None:
    """What the newest version remembers of the search for its features; None if nothing."""
    newest_one = next((version for version, _ in versions(name)), None) if registered_models.known(name) else None
    if newest_one is None or SEARCH not in newest_one.tags:
        return None
    try:
        return SearchRef.remembered(newest_one.tags[SEARCH], str(newest_one.version))
    except ValueError:  # a person has changed it
        return None


def data_before(name: str, now: pd.DataFrame) -> pd.DataFrame | None:
    """As `data_of`, of the newest version that was made from other images or labels; None if there is none.

    `now`: `key` and `label` of the images now. Once a version is made from them, this still gives the data before it.
    """
    if not registered_models.known(name):
        return None
    same = set()
    for version, _ in versions(name):
        made_from = version.tags.get("headstart.data", version.version)
        if made_from not in same:
            data = tracking.table(version.run_id, DATA)
            if data is not None and changes.between(data, now):
                return data
            same.add(made_from)
    return None


def splits_before(name: str) -> pd.Series | None:
    """The split, by key, of every image that any version was made from, as the newest one tells; None without one.

    Images that have gone are in it too: they may come back. Where the next run draws a fresh test set (`test_sets`),
    the test images so far may only be trained on, and all others may become test images.
    """
    if not (number := newest(name)):
        return None
    run = version_of(name, number).run_id
    data = tracking.table(run, SPLITS)
    if data is None:  # a version of an older release
        data = tracking.table(run, DATA)
    if data is None:
        return None
    found = data.drop_duplicates("key").set_index("key")["split"]
    if fresh(name)[0] != number:
        return found
    return found.where(found == "test", "fresh").map({"test": "train", "fresh": "test"})


def fresh(name: str) -> tuple[str, str]:
    """The newest version when a fresh test set was last asked for, and the salt of its draw; "" and "" if never."""
    model = registered_models.find(name)
    after, _, salt = (model.tags.get(FRESH, "") if model else "").partition(" ")
    return after, salt


def versions(name: str | None = None) -> "Iterator[tuple[ModelVersion, tuple[str, ...]]]":
    """Every version of one model or of all, the newest first, with its aliases."""
    for each in registered_models.names() if name is None else [name]:
        if (model := registered_models.find(each)) is None:
            continue
        for version in registered_models.versions(each):
            yield version, registered_models.aliases(model, version.version)


def exists(version: VersionRef) -> bool:
    """Whether the registry still holds the version."""
    return find(version.name, version.version) is not None


def refreshed(version: VersionRef) -> VersionRef:
    """The record with the version's current aliases and note."""
    tags, model = version_of(version.name, version.version).tags, registered_models.model(version.name)
    return replace(version, aliases=registered_models.aliases(model, version.version), note=tags.get(NOTE, ""))


def resolve(address: str) -> tuple[str, str]:
    """`NAME@alias`, `NAME/version` or `NAME` (its champion) as (name, version). `UsageError` if there is none."""
    name, _, wanted = address.partition("@")
    name, slash, number = name.partition("/")
    found = find(name, number) if slash else registered_models.alias(name, wanted or CHAMPION)
    if found is None:
        known = [f"{v.name}/{v.version} {' '.join(a)}".strip() for v, a in versions()]
        raise UsageError(
            f"Expected a registered model such as NAME@champion, found no {address}. Registered: {known or 'none'}."
        )
    return name, str(found.version)


def annotate(version: VersionRef, description: str) -> None:
    """Set the description on a version's page in MLflow, Markdown; what a database does not take of it is cut off."""
    short = description if len(description) <= LONGEST else f"{description[: LONGEST - 2]} …"
    tracking.client().update_model_version(version.name, version.version, short)


def tables_in_use() -> set[str]:
    """Names of the tables that some registered version was trained from."""
    return {table for version, _ in versions() for table in version.tags.get("headstart.tables", "").split()}


def datasets_in_use() -> set[str]:
    """Digests of the data sets that some registered version was made from."""
    return {version.tags.get("headstart.data", "") for version, _ in versions()}


def photos_in_use() -> set[str]:
    """Keys of the photos that some registered version was made from."""
    data = (tracking.table(version.run_id, DATA) for version, _ in versions())
    return {key for table in data if table is not None for key in table["key"]}


def describe(version: "ModelVersion", aliases: tuple[str, ...]) -> dict[str, Any]:
    """What `headstart models` shows for a version."""
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
