"""The search for a head, between the images and the ladder: one extraction serves all poolings that are tried."""

from flows.parts.extraction import extracted
from tasks.records import ImagesRef, TunedRef
from tasks.settings import Head, Recipe
from tasks.stages.models.tune import tune

#: Each contains the features of those before it.
POOLINGS = ("avg", "avg_max_std", "multi_level")


def with_head(recipe: Recipe, images: ImagesRef) -> tuple[Recipe, TunedRef | None]:
    """The recipe with the best head, pooling and views of a search, and the search; unchanged if `tune` is off."""
    if not recipe.tune.enabled:
        return recipe, None
    wide = _wide(recipe, images)
    features = extracted(wide, images, "extract_for_tuning")
    search = wide.search.model_copy(update={"views": recipe.images.views})
    found = tune(images, features, search)
    return _with(recipe, found), found


def _wide(r: Recipe, images: ImagesRef) -> Recipe:
    """The recipe with the widest pooling to try, and the identity among its views.

    In cross-validation, validation images are also trained on, so they need every view too.
    """
    every = r.ladder.refit or r.tune.turns(images.dataset.counts) > 0
    pooling = max(r.tune.poolings, key=POOLINGS.index, default=r.backbone.pooling)
    views = tuple(dict.fromkeys(("identity", *r.images.views)))
    return r.model_copy(
        update={
            "backbone": r.backbone.model_copy(update={"pooling": pooling}),
            "images": r.images.model_copy(update={"views": views}),
            "ladder": r.ladder.model_copy(update={"refit": every}),
        }
    )


def _with(r: Recipe, found: TunedRef) -> Recipe:
    return r.model_copy(
        update={
            "head": Head(**found.head),
            "backbone": r.backbone.model_copy(update={"pooling": found.pooling}),
            "images": r.images.model_copy(update={"views": found.views}),
            # What was found needs no search again, where it is written as a recipe.
            "tune": r.tune.model_copy(update={"enabled": False}),
        }
    )
