"""Choice of the backbone: the ranking, and how its predictions compare with the results."""

from tasks.networks import backbones
from tasks.records import AgreementRef, DatasetRef, ImagesRef, LadderRef, RankingRef, digest
from tasks.services import tracking
from tasks.settings import Recipe, Sized
from tasks.stages.features.rank_backbones import rank_backbones
from tasks.stages.features.review_ranking import ACCURACY, BACKBONE, COMPARABLE, LOG_LOSS, review_ranking

#: Settings that do not affect training, or that the digest of the images covers.
APART = {"backbone", "select", "source", "split", "validation", "extract", "audit", "gates"}


def with_backbone(recipe: Recipe, dataset: DatasetRef) -> tuple[Recipe, RankingRef | None]:
    """The recipe with the first-ranked backbone and its side if it leaves the choice open, and the ranking."""
    r = recipe
    if r.backbone.kind != "auto":
        return r, None
    candidates = [each.model_copy(update={"size": _side(r, each)}) for each in r.select.candidates or backbones.here()]
    select = r.select.model_copy(update={"candidates": tuple(candidates)})
    ranking = rank_backbones(dataset, r.images, select, r.extract, r.backend)
    backbone = r.backbone.model_copy(update=ranking.chosen.settings)
    images = r.images.model_copy(update={"size": ranking.chosen.size})
    return r.model_copy(update={"backbone": backbone, "images": images}), ranking


def _side(r: Recipe, candidate: Sized) -> int:
    """The side at which a candidate is tried: its own, unless it or the recipe names another one."""
    own = 0 if "size" in r.images.model_fields_set else backbones.own_side(candidate)
    return candidate.size or own or r.images.size


def reviewed(recipe: Recipe, ranking: RankingRef | None, images: ImagesRef, ladder: LadderRef) -> AgreementRef | None:
    """Log this backbone's results; given a ranking, compare it with all results so far."""
    comparable = digest(images, recipe.model_dump(exclude=APART), recipe.backbone.pooling)
    validation = ladder.chosen.validation.scores
    tracking.log_result(
        {BACKBONE: backbones.label(recipe.backbone), COMPARABLE: comparable},
        {LOG_LOSS: validation["log_loss"], ACCURACY: validation["accuracy"]},
    )
    return review_ranking(ranking, comparable) if ranking else None
