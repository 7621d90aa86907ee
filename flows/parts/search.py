"""What a recipe leaves open is chosen within its time: the features by a search, the ladder by the effort."""

from typing import Any

from tasks.networks import backbones
from tasks.records import DatasetRef, SearchRef
from tasks.settings import Budget, FeatureSearch, Recipe, budget
from tasks.settings.base import Settings
from tasks.stages.features.search import search

#: What the search may choose, and the table and setting that leave it open if they are not given.
OPEN = {
    "size": ("images", "size"),
    "fit": ("images", "fit"),
    "views": ("images", "views"),
    "network": ("backbone", "kind"),
    "pooling": ("backbone", "pooling"),
    "beside": ("backbone", "beside"),
}


def with_choices(recipe: Recipe, dataset: DatasetRef) -> tuple[Recipe, SearchRef | None]:
    """The recipe with everything chosen that it leaves open, and the search; unchanged without an effort."""
    r = recipe
    if r.effort == "none" and not r.minutes:
        return r, None
    allowed = budget(r.effort, r.minutes)
    left = tuple(name for name, (table, setting) in OPEN.items() if setting not in getattr(r, table).model_fields_set)
    found = search(dataset, _settings(r, allowed, left))
    for table, values in found.chosen.items():
        r = _with(r, table, values)
    minutes = {"minutes": allowed.minutes * allowed.tuning}
    r = _with(r, "transfer_check", _unset(r.transfer_check, allowed.transfer_check))
    r = _with(r, "ladder", _unset(r.ladder, allowed.ladder | {"max_minutes": allowed.minutes * allowed.climb}))
    return _with(r, "fine_tune", _unset(r.fine_tune, allowed.fine_tune | minutes)), found


def _settings(r: Recipe, allowed: Budget, left: tuple[str, ...]) -> FeatureSearch:
    return FeatureSearch(
        backbone=r.backbone,
        images=r.images,
        extract=r.extract,
        backend=r.backend,
        seed=r.seed,
        open=left,
        networks=r.select.candidates or backbones.packaged(),
        sample=allowed.sample,
        size=allowed.size,
        views=allowed.views,
        fits=allowed.fits,
        joined=allowed.joined,
        seconds=60 * allowed.minutes * allowed.search,
        features=60 * allowed.minutes * allowed.features,
    )


def _unset(given: Settings, values: dict[str, Any]) -> dict[str, Any]:
    """The values of settings that are not given."""
    return {name: value for name, value in values.items() if name not in given.model_fields_set}


def _with(r: Recipe, table: str, values: dict[str, Any]) -> Recipe:
    return r.model_copy(update={table: getattr(r, table).model_copy(update=values)})
