"""Batch scoring: a registered version's predictions for a whole source."""

import shutil
from pathlib import Path

from prefect import flow

from flows.recipes import load, shipped
from tasks.data.files import tables
from tasks.records import ScoresRef
from tasks.runtime.errors import UsageError
from tasks.runtime.escapes import markdown
from tasks.runtime.home import expanded, home
from tasks.runtime.store import remote
from tasks.runtime.store.writing import replacing
from tasks.services import tracking
from tasks.services.orchestration import events, monitoring
from tasks.services.registry import versions
from tasks.settings import Observe, Scoring, Source
from tasks.stages.release.score import score as scored

PHOTOS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")


@flow(name="score", flow_run_name="score {model}", validate_parameters=True, on_failure=[events.failed])
def score(
    model: str,
    source: Source,
    out: Path | None = None,
    settings: Scoring = Scoring(),  # noqa: B008 - frozen
) -> ScoresRef:
    """A version's predictions for every image of a source; images that it predicted before are not computed again.

    Args:
        model: NAME@alias, NAME/version, or NAME for its champion.
        source: The photos.
        out: Where to copy the Parquet file; by default it is only in the home folder.
        settings: How it is done.
    """
    name, version = versions.resolve(model)
    with monitoring.run(name, "score", {"version": version, "source": source.model_dump()}, Observe()):
        found: ScoresRef = scored(source, name, version, settings)
        new = f"{found.images:,} images, {found.computed:,} of them predicted now, {found.unreadable:,} not readable"
        tracking.describe(markdown(f"Version {version} was asked about {new}. {' '.join(found.drift)}".strip()))
    if out:
        with replacing(out) as working:
            shutil.copyfile(home() / found.path, working)
    return found


def of_words(source: str) -> Source:
    """The source that a person names: a folder, a photo, a table without labels, or a recipe's."""
    if remote.scheme(source):
        where = remote.place(source, "SOURCE")
        if str(where).lower().endswith(tables.SUFFIXES):
            return Source(kind="manifest", options={"path": str(where), "label": None})
        if isinstance(where, str):
            return Source(kind="files", options={"path": where})
        source = str(where)
    path = expanded(source)
    if path.is_dir() or path.suffix.lower() in PHOTOS:
        return Source(kind="files", options={"path": str(path.absolute())})
    if path.suffix.lower() in tables.SUFFIXES:
        return Source(kind="manifest", options={"path": str(path.absolute()), "label": None})
    if source not in shipped() and not path.is_file():
        raise UsageError(f"SOURCE: expected a folder, a photo, a table, or a recipe, found nothing at {source!r}.")
    return load(source).source
