"""The ladder: from nearest neighbours to the whole network, each rung more expensive than the one before."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cache, partial

from flows.parts.extraction import extracted
from tasks.networks import heads
from tasks.records import AuditRef, FeaturesRef, ImagesRef, LadderRef, ModelRef, WarmRef, digest
from tasks.services.orchestration.stage import Stage
from tasks.settings import TUNED, Recipe
from tasks.stages.data.ingest import ingest
from tasks.stages.models.average import average
from tasks.stages.models.choose import choose
from tasks.stages.models.distill import distill
from tasks.stages.models.fine_tune import fine_tune
from tasks.stages.models.interpolate import interpolate
from tasks.stages.models.soup import soup
from tasks.stages.models.train_head import train_head
from tasks.stages.models.warm_start import warm_start
from tasks.training.weights import soups

#: Rungs that are named after their stage in MLflow and Prefect.
OWN = ("head", "blocks", "interpolated", "souped", "distilled", "averaged")
#: A rung that trains the network is begun if this share of its minutes is left.
ENOUGH = 0.5
#: Nearest neighbours store every image; with more than this many the rung is not cheap.
KNN_IMAGES = 20_000


def climb(
    images: ImagesRef, features: FeaturesRef, audited: AuditRef, recipe: Recipe, started: float, repeat: bool = False
) -> LadderRef:
    """Train the recipe's rungs within its time limit, and choose one.

    `started`: start of the run, by `time.perf_counter()`. `repeat`: a warm start from the champion is a rung too.
    """
    rungs: dict[str, ModelRef] = {}
    limits: dict[str, float] = {}
    reason, note = f"the recipe stops at {recipe.ladder.stop_at}", ""
    for rung, step in _steps(images, features, audited, recipe, rungs, limits, repeat):
        minutes, most = (time.perf_counter() - started) / 60, recipe.ladder.max_minutes
        wanted = recipe.tuning(rung).tuning.minutes if rung in TUNED else 0.0
        if rungs and 0 < most < minutes + wanted * ENOUGH:
            reason = f"{minutes:.1f} of {most:g} minutes had passed"
            if most < minutes:
                break
            reason += f" before {rung}, which may take {wanted:.1f}"
            continue
        if 0 < most < minutes + wanted:
            limits[rung] = round(most - minutes, 1)
        made = step()
        model = made.model if isinstance(made, WarmRef) else made
        note += f". {made.reason}" if isinstance(made, WarmRef) else ""
        if model:
            rungs[rung] = model
    else:
        if "warm" in rungs and any(rung in TUNED for rung in recipe.rungs) and not _last_tuned(rungs):
            reason = "the warm start is not surely worse than the rungs before it"
    reason += note
    by_cost = [*recipe.heads, "warm", *recipe.rungs]
    found = tuple(sorted(rungs.values(), key=lambda each: by_cost.index(each.rung)))
    return choose(images.dataset, audited, found, recipe.ladder, reason, recipe.seed)


def refitted(images: ImagesRef, features: FeaturesRef, recipe: Recipe, ladder: LadderRef) -> ModelRef:
    """The chosen rung; with `ladder.refit`, trained again on training and validation images."""
    r, rungs = recipe, {rung.rung: rung for rung in ladder.rungs}
    if not r.ladder.refit:
        return ladder.chosen

    @cache
    def again(name: str) -> ModelRef:
        """A rung, trained after those that it depends on."""
        rung = rungs[name]
        if rung.origin.averages:
            members = [again(each) for each in dict.fromkeys(rung.origin.averages)]
            return _averaged(images, _repeated(images, members, r, partial(again, "head"), rungs), r, rung)
        if name in r.heads:
            return _head(images, features, r, name, rung)
        last = _last_tuned(rungs)
        if name == "distilled":
            return _distilled(images, again("head"), again("averaged"), r, rung)
        if name == "souped":
            members = [again(last), *_trainings(images, again("head"), r, last, rungs[last])]
            return _souped(images, members, None, r, last, rung)
        if name != "interpolated":
            return _tuned(images, again("head"), r, name, rung)
        return _between(images, again("head"), again(last), None, r, last, rung)

    return again(ladder.chosen.rung)


def _steps(
    images: ImagesRef,
    features: FeaturesRef,
    audited: AuditRef,
    r: Recipe,
    rungs: dict[str, ModelRef],
    limits: dict[str, float],
    repeat: bool = False,
) -> Iterator[tuple[str, Callable[[], ModelRef | WarmRef]]]:
    """Name of each of the recipe's rungs, and a function that trains it once those before exist.

    `limits`: minutes of a rung for which its own are no longer left.
    """
    for rung, head in r.heads.items():
        repeated = rung != "head" and "head" in r.rungs and heads.alike(head, r.head)
        crowded = rung == "knn" and images.dataset.counts["train"] > KNN_IMAGES
        if rung in r.rungs and not repeated and not crowded:
            yield rung, partial(_head, images, features, r, rung, audited=audited)
    if repeat and r.ladder.warm != "never" and "blocks" in r.rungs:
        yield "warm", lambda: warm_start(images, rungs["head"], audited, r.warm_start)

    def begun(rung: str) -> ModelRef:
        """What limits it is only known then."""
        return _tuned(images, rungs["head"], r.within(rung, limits.get(rung, 0.0)), rung)

    enough = r.ladder.warm == "first" and "warm" in rungs and _enough(images, audited, r, rungs)
    for rung in TUNED:
        if rung in r.rungs and not enough:
            yield rung, partial(begun, rung)
    last = _last_tuned(rungs)
    if "interpolated" in r.rungs and last:
        yield "interpolated", partial(_between, images, rungs["head"], rungs[last], audited, r, last)
    if "souped" in r.rungs and last:
        yield (
            "souped",
            lambda: _souped(images, [rungs[last], *_trainings(images, rungs["head"], r, last)], audited, r, last),
        )
    if "averaged" not in r.rungs:
        return
    so_far = choose.labelled("choose_to_average")
    best = _to_average(r, so_far(images.dataset, audited, tuple(rungs.values()), r.ladder, "the average", r.seed))
    several = len(best) * len(_views(r)) > 1 or r.ladder.backbones or (r.ladder.seeds > 1 and best[-1].rung in TUNED)
    if several:
        yield "averaged", lambda: _averaged(images, _repeated(images, best, r, lambda: rungs["head"]), r)
        if "distilled" in r.rungs:
            yield "distilled", lambda: _distilled(images, rungs["head"], rungs["averaged"], r)


def _enough(images: ImagesRef, audited: AuditRef, r: Recipe, rungs: dict[str, ModelRef]) -> bool:
    """Whether the warm start is not surely worse than the rungs on the frozen network."""
    so_far = choose.labelled("choose_warm_start")
    found = so_far(images.dataset, audited, tuple(rungs.values()), r.ladder, "the warm start", r.seed)
    return any(score.rung == "warm" and score.gap_interval[0] <= 0 for score in found.scores)


def _head(
    images: ImagesRef,
    features: FeaturesRef,
    r: Recipe,
    rung: str,
    again: ModelRef | None = None,
    which: str = "",
    audited: AuditRef | None = None,
) -> ModelRef:
    """`audited`: for a rung that is compared with others, which cross-fits it if images are few."""
    stage = _labelled(train_head, rung, again, which)
    folds = r.ladder.turns(images.dataset.counts) if audited else 0
    return stage(images, features, r.training(rung, folds), again, audited)


def _tuned(
    images: ImagesRef,
    head: ModelRef,
    r: Recipe,
    rung: str,
    again: ModelRef | None = None,
    number: int = 0,
    which: str = "",
) -> ModelRef:
    """`number`: of the training. Each has its own seed; number 0 has the recipe's."""
    stage = _labelled(fine_tune, rung, again, which)
    return stage(images, head, r.tuning(rung).model_copy(update={"seed": _seed(r, number)}), again)


def _trainings(
    images: ImagesRef, head: ModelRef, r: Recipe, rung: str, again: ModelRef | None = None
) -> Iterator[ModelRef]:
    """The rung trained further times for a soup, each time with another seed and learning rate."""
    for number in range(1, r.ladder.soup + 1):
        yield _tuned(images, head, r.at_rate(rung, soups.rate(number)), rung, again, number, f"_soup_{number + 1}")


def _souped(
    images: ImagesRef,
    members: list[ModelRef],
    audited: AuditRef | None,
    r: Recipe,
    rung: str,
    again: ModelRef | None = None,
) -> ModelRef:
    """`again` and `audited`: as in `_between`."""
    return _labelled(soup, "souped", again)(images, tuple(members), r.tuning(rung), audited, again)


def _between(
    images: ImagesRef,
    head: ModelRef,
    tuned: ModelRef,
    audited: AuditRef | None,
    r: Recipe,
    rung: str,
    again: ModelRef | None = None,
) -> ModelRef:
    """`again`: a rung to train again, at its share; else `audited` says which images are alike, to choose one."""
    return _labelled(interpolate, "interpolated", again)(images, head, tuned, r.tuning(rung), audited, again)


def _distilled(
    images: ImagesRef, head: ModelRef, teacher: ModelRef, r: Recipe, again: ModelRef | None = None
) -> ModelRef:
    """The network of the last rung that trains it, or of the last blocks, taught by the average."""
    settings, others = r.tuning(_last_tuned(r.rungs) or "blocks"), r.ladder.unlabelled
    facts = ingest.labelled("ingest_unlabelled")(others, r.images, r.labels) if others else None
    return _labelled(distill, "distilled", again)(images, head, teacher, settings, facts, again)


def _averaged(images: ImagesRef, models: list[ModelRef], r: Recipe, again: ModelRef | None = None) -> ModelRef:
    return _labelled(average, "averaged", again)(images, tuple(models), _views(r), again)


def _repeated(
    images: ImagesRef,
    models: list[ModelRef],
    r: Recipe,
    head: Callable[[], ModelRef],
    before: Mapping[str, ModelRef] | None = None,
) -> list[ModelRef]:
    """The models, and the last one trained with other seeds and on other backbones, if the recipe asks for it.

    `before`: when refitting, the rungs as they were trained before.
    """
    rung = models[-1].rung
    again = before[rung] if before else None
    seeds = range(1, r.ladder.seeds) if rung in TUNED else ()
    trainings = [_tuned(images, head(), r, rung, again, number, f"_{number + 1}") for number in seeds]
    if rung in ("warm", "interpolated", "souped"):
        rung = _last_tuned(r.rungs)
    others = [r.model_copy(update={"backbone": each}) for each in r.backbones_of("averaged")[1:]]
    elsewhere = [_elsewhere(images, o, rung, f"_backbone_{n}", before is not None) for n, o in enumerate(others, 2)]
    return [*models, *trainings, *elsewhere]


def _elsewhere(images: ImagesRef, r: Recipe, rung: str, which: str, refit: bool) -> ModelRef:
    """A rung for the average, on the backbone of `r`, trained from its own head on.

    `refit`: then train it again on training and validation images, for the same number of epochs.
    """
    features = extracted(r, images, f"extract{which}")
    lower = "head" if rung in TUNED else rung

    def trained(head: ModelRef | None = None, tuned: ModelRef | None = None) -> tuple[ModelRef, ModelRef]:
        below = _head(images, features, r, lower, head, which)
        return below, _tuned(images, below, r, rung, tuned, which=which) if rung in TUNED else below

    first = trained()
    return trained(*first)[1] if refit else first[1]


def _to_average(r: Recipe, found: LadderRef) -> list[ModelRef]:
    """The best rung, or the best on the frozen network and the best fine-tuned one."""
    behind = {score.rung: score.gap for score in found.scores}

    def best(some: Iterable[ModelRef]) -> list[ModelRef]:
        return sorted(some, key=lambda rung: behind[rung.rung])[:1]

    every = found.rungs
    if "rungs" not in r.ladder.average:
        return best(every)
    return best(rung for rung in every if rung.on_frozen) + best(rung for rung in every if not rung.on_frozen)


def _seed(r: Recipe, number: int) -> int:
    """Seed of one of several trainings; not `seed + number`, which a similar recipe may use."""
    return int(digest("seed", r.seed, number)[:7], 16) if number else r.seed


def _views(r: Recipe) -> tuple[str, ...]:
    return r.images.views if "views" in r.ladder.average else ("identity",)


def _last_tuned(rungs: Collection[str]) -> str:
    """The most expensive rung that fine-tuned the network; empty if none did."""
    return next((rung for rung in ("whole", "blocks") if rung in rungs), "")


def _labelled(stage: Stage, rung: str, again: ModelRef | None, which: str = "") -> Stage:
    """The stage, labelled with its rung's name, or for rungs in OWN with its own; `which`: suffix for repetitions."""
    name = (stage.name if rung in OWN else rung) + which
    return stage.labelled(f"refit_{name}" if again else name)
