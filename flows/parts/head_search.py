"""The search for a head, between the images and the ladder: one extraction serves all poolings that are tried."""

from flows.parts.extraction import extract_in_shards
from tasks.records import ImagesRef, TunedRef
from tasks.settings import Head, Recipe
from tasks.stages.features.extract import extract
from tasks.stages.models.tune import tune

#: Each holds the features of those before it.
POOLINGS = ("avg", "avg_max_std", "multi_level")


def with_head(recipe: Recipe, images: ImagesRef) -> tuple[Recipe, TunedRef | None]:
    """The recipe with the head, pooling and views that a search found best, where it wants one, and the search."""
    if not recipe.tune.enabled:
        return recipe, None
    r = _wide(recipe)
    extract_in_shards(images, r)
    every = r.ladder.refit or r.tune.turns(images.dataset.counts) > 0
    features = extract.labelled("extract_for_tuning")(images, r.backbone, r.extract, r.images, r.backend, every)
    found = tune(images, features, r.backbone, r.tune, r.head, r.loss, recipe.images, r.seed)
    return _with(recipe, found), found


def _wide(r: Recipe) -> Recipe:
    """The recipe with the widest pooling that is to be tried, and photos as they are among their views."""
    pooling = max(r.tune.poolings, key=POOLINGS.index, default=r.backbone.pooling)
    views = tuple(dict.fromkeys(("identity", *r.images.views)))
    return r.model_copy(
        update={
            "backbone": r.backbone.model_copy(update={"pooling": pooling}),
            "images": r.images.model_copy(update={"views": views}),
        }
    )


def _with(r: Recipe, found: TunedRef) -> Recipe:
    return r.model_copy(
        update={
            "head": Head(**found.head),
            "backbone": r.backbone.model_copy(update={"pooling": found.pooling}),
            "images": r.images.model_copy(update={"views": found.views}),
        }
    )
