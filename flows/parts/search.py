"""What a recipe leaves open is chosen within its time: the features by a search, the ladder by the effort."""

from dataclasses import replace
from typing import Any

from tasks.networks import backbones
from tasks.records import DatasetRef, LadderRef, SearchRef, digest
from tasks.services.registry import versions
from tasks.settings import TABLES, FeatureSearch, Recipe, budget, ladder_of, unset
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
#: The head that finds out which parts of the features tell something.
WEIGHS = "logistic"
#: With so many times the images that a search was made for, another one pays.
GROWN = 1.5
#: It pays too if a larger share of the classes is new. A few new ones want what tells the others apart, and only on the
#: same features can training go on from the champion.
NEW = 0.25


def with_choices(recipe: Recipe, dataset: DatasetRef, repeat: bool = False) -> tuple[Recipe, SearchRef | None]:
    """The recipe with everything chosen that it leaves open, and the search; unchanged without an effort.

    `repeat`: what was chosen for the newest version is chosen again, unless the recipe asks for something else, or the
    data have many new classes or many more images.
    """
    if recipe.effort == "none" and not recipe.minutes:
        return recipe, None
    settings = asked(recipe)
    address = digest(settings, *_raced(recipe))
    found = (remembered(recipe.name, address, dataset) if repeat else None) or search(dataset, settings, address)
    return applied(recipe, found, dataset.counts["train"]), found


def applied(recipe: Recipe, found: SearchRef, images: int) -> Recipe:
    """The recipe with what was found, and with what its effort buys for a number of training images."""
    r, allowed = recipe, budget(recipe.effort, recipe.minutes)
    allowed = allowed.twice if r.ladder.refit else allowed
    for table, values in found.chosen.items():
        r = r.with_settings(table, values)
    r = r.with_settings("transfer_check", unset(r.transfer_check, allowed.transfer_check))
    views = len(r.images.views)
    once = found.features_seconds * found.of / max(found.of + (views - 1) * images, 1)
    answers = unset(r.ladder, allowed.average(once, views))
    r = r.with_settings("ladder", ladder_of(allowed, r.ladder) | answers)
    answered = views if "views" in r.ladder.average else 1
    most = allowed.climb(once, answered, len(r.backbone.beside))
    r = r.with_settings("ladder", unset(r.ladder, {"max_minutes": round(most, 2)}))
    limit = {"minutes": allowed.minutes * allowed.tuning}
    tuned = limit | {"epochs": allowed.epochs_of(images * views, r.images.size)}
    r = r.with_settings("fine_tune", unset(r.fine_tune, allowed.fine_tune | tuned))
    return r.with_settings("whole", unset(r.whole, limit))


def with_races(recipe: Recipe, found: SearchRef | None, ladder: LadderRef) -> tuple[Recipe, SearchRef | None]:
    """The recipe and the search with the settings that were best in the ladder's races."""
    for race in ladder.races:
        recipe = recipe.with_settings(TABLES[race.rung], race.chosen)
        if found:
            table = TABLES[race.rung]
            found = replace(found, chosen=found.chosen | {table: found.chosen.get(table, {}) | race.chosen})
    return recipe, found


def remembered(name: str, asked: str, dataset: DatasetRef) -> SearchRef | None:
    """What was chosen for the newest version of a model, if it still holds: for the same question and like data."""
    before = versions.searched(name)
    if before is None or before.asked != asked or sum(dataset.counts.values()) > GROWN * before.of:
        return None
    new = set(dataset.classes) - set(before.classes)
    return before if len(new) <= NEW * len(dataset.classes) else None


def asked(r: Recipe) -> FeatureSearch:
    """What the search is asked to choose, and within which time."""
    allowed = budget(r.effort, r.minutes)
    allowed = allowed.twice if r.ladder.refit else allowed
    networks = r.select.candidates or backbones.packaged()
    left = {name for name, (table, key) in OPEN.items() if key not in getattr(r, table).model_fields_set}
    backbone = r.backbone
    if backbone.kind == "auto":
        left.add("network")
        backbone = backbone.model_copy(update=networks[0].model_dump())
    if r.head.kind != WEIGHS or backbone.pooling == "none":  # others need features that they were tuned for
        left -= {"pooling", "beside"}
    if r.tune.enabled and r.tune.poolings:
        left -= {"pooling", "beside"}
    return FeatureSearch(
        backbone=backbone,
        images=r.images,
        extract=r.extract,
        backend=r.backend,
        seed=r.seed,
        open=tuple(sorted(left)),
        photos=allowed.photos if r.fine_tune.enabled else 0,
        networks=networks,
        sample=allowed.sample,
        size=allowed.size,
        views=allowed.views,
        fits=allowed.fits,
        joined=allowed.joined,
        seconds=60 * allowed.minutes * allowed.search,
        features=60 * allowed.minutes * allowed.features,
    )


def _raced(r: Recipe) -> list[dict[str, Any]]:
    """What races start from, where there are some: what they choose holds for that alone."""
    tables = (getattr(r, table) for table in TABLES.values())
    return [table.model_dump(exclude_unset=True) for table in tables if table.trials]
