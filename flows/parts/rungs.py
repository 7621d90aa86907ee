"""How each rung of a recipe is trained: its stages, and what they are called in a run."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from flows.parts.extraction import extracted
from tasks.records import AuditRef, FeaturesRef, ImagesRef, ModelRef, RaceRef, WarmRef, digest
from tasks.services.orchestration.stage import Stage
from tasks.settings import TABLES, TUNED, Recipe
from tasks.stages.data.ingest import ingest
from tasks.stages.models.average import average
from tasks.stages.models.distill import distill
from tasks.stages.models.fine_tune import fine_tune
from tasks.stages.models.interpolate import interpolate
from tasks.stages.models.race import race
from tasks.stages.models.soup import soup
from tasks.stages.models.train_head import train_head
from tasks.stages.models.warm_start import warm_start
from tasks.training.weights import soups

#: Rungs that are named after their stage in MLflow and Prefect.
OWN = ("head", "blocks", "interpolated", "souped", "distilled", "averaged")


@dataclass(frozen=True)
class Rungs:
    """Trains rungs of a recipe on these images.

    `again`, an argument of its methods: the rung as it was trained before, which is trained again on training and
    validation images, for the same number of epochs.
    """

    images: ImagesRef
    features: FeaturesRef
    recipe: Recipe
    #: Which images are alike.
    audited: AuditRef
    #: Whether rungs are compared, so that cross-fitting and races pay.
    compared: bool = True
    #: Suffix of the names of stages that run more than once.
    which: str = ""

    def head(self, rung: str, again: ModelRef | None = None) -> ModelRef:
        """A rung on the frozen network; one that is compared with others is cross-fitted if images are few."""
        folds = self.recipe.ladder.turns(self.images.dataset.counts) if self.compared else 0
        stage = self._stage(train_head, rung, again)
        return stage(self.images, self.features, self.recipe.training(rung, folds), again, self.audited)

    def warm(self, head: ModelRef) -> WarmRef:
        """A training that goes on from the champion."""
        return warm_start(self.images, head, self.audited, self.recipe.warm_start)

    def raced(self, rung: str, head: ModelRef) -> tuple["Rungs", RaceRef | None]:
        """The rungs with the best settings of a race for this one, and the race, if the recipe asks for it."""
        settings = self.recipe.tuning(rung)
        if not settings.tuning.trials or not self.compared:
            return self, None
        own = race.labelled(f"race_{rung}")
        found = own(self.images, self.features, head, self.audited, self.recipe.training("head"), settings)
        return replace(self, recipe=self.recipe.with_settings(TABLES[rung], found.chosen)), found

    def tuned(self, rung: str, head: ModelRef, again: ModelRef | None = None, number: int = 0) -> ModelRef:
        """A rung that trains the network. `number`: of several trainings, each with a seed of its own; 0: the recipe's.

        A training that is no rung itself is named after its number.
        """
        # It is known how many epochs another training has: the time that the first one had is no limit for more images.
        recipe = self.recipe.without_limit(rung) if again else self.recipe
        settings = recipe.tuning(rung).model_copy(update={"seed": _seed(self.recipe, number)})
        return self._stage(fine_tune, rung, again)(self.images, head, settings, again)

    def trainings(self, rung: str, head: ModelRef, again: ModelRef | None = None) -> Iterator[ModelRef]:
        """The rung trained further times for a soup, each time with another seed and learning rate."""
        for number in range(1, self.recipe.ladder.soup + 1):
            other = replace(self, recipe=self.recipe.at_rate(rung, soups.rate(number)), which=f"_soup_{number + 1}")
            yield other.tuned(rung, head, again, number)

    def souped(self, rung: str, members: list[ModelRef], again: ModelRef | None = None) -> ModelRef:
        """The mean of the weights of several trainings of a rung."""
        settings = self.recipe.tuning(rung)
        return self._stage(soup, "souped", again)(self.images, tuple(members), settings, self.audited, again)

    def between(self, rung: str, head: ModelRef, tuned: ModelRef, again: ModelRef | None = None) -> ModelRef:
        """Weights between the frozen network's and those of a rung that trained it."""
        settings = self.recipe.tuning(rung)
        return self._stage(interpolate, "interpolated", again)(self.images, head, tuned, settings, self.audited, again)

    def distilled(self, head: ModelRef, teacher: ModelRef, again: ModelRef | None = None) -> ModelRef:
        """The network of the last rung that trains it, or of the last blocks, taught by the average."""
        r = self.recipe
        settings, others = r.tuning(last_tuned(r.rungs) or "blocks"), r.ladder.unlabelled
        facts = ingest.labelled("ingest_unlabelled")(others, r.images, r.labels) if others else None
        return self._stage(distill, "distilled", again)(self.images, head, teacher, settings, facts, again)

    def averaged(self, models: list[ModelRef], again: ModelRef | None = None) -> ModelRef:
        """The mean of the answers of models."""
        return self._stage(average, "averaged", again)(self.images, tuple(models), views(self.recipe), again)

    def repeated(
        self, models: list[ModelRef], head: Callable[[], ModelRef], before: Mapping[str, ModelRef] | None = None
    ) -> list[ModelRef]:
        """The models, and the last one trained with other seeds and on other backbones, if the recipe asks for it.

        `before`: when refitting, the rungs as they were trained before.
        """
        r, rung = self.recipe, models[-1].rung
        again = before[rung] if before else None
        seeds = range(1, r.ladder.seeds) if rung in TUNED else ()
        trainings = [replace(self, which=f"_{number + 1}").tuned(rung, head(), again, number) for number in seeds]
        if rung in ("warm", "interpolated", "souped"):
            rung = last_tuned(r.rungs)
        others = [r.model_copy(update={"backbone": each}) for each in r.backbones_of("averaged")[1:]]
        elsewhere = [self._elsewhere(o, rung, f"_backbone_{n}", before is not None) for n, o in enumerate(others, 2)]
        return [*models, *trainings, *elsewhere]

    def chosen_of(self, averages: tuple[str, ...]) -> tuple[str, ...]:
        """Of the rungs of an average, those that were chosen for it: `repeated` has added the others."""
        others = len(self.recipe.backbones_of("averaged")) - 1
        return tuple(dict.fromkeys(averages[: len(averages) - others]))

    def _elsewhere(self, r: Recipe, rung: str, which: str, refit: bool) -> ModelRef:
        """A rung for the average, on the backbone of `r`, trained from its own head on; `refit`: then trained again."""
        there = Rungs(self.images, extracted(r, self.images, f"extract{which}"), r, self.audited, False, which)
        lower = "head" if rung in TUNED else rung

        def trained(head: ModelRef | None = None, tuned: ModelRef | None = None) -> tuple[ModelRef, ModelRef]:
            below = there.head(lower, head)
            return below, there.tuned(rung, below, tuned) if rung in TUNED else below

        first = trained()
        return trained(*first)[1] if refit else first[1]

    def _stage(self, stage: Stage, rung: str, again: ModelRef | None) -> Stage:
        """The stage, labelled with its rung's name, or for rungs in OWN with its own."""
        name = (stage.name if rung in OWN else rung) + self.which
        return stage.labelled(f"refit_{name}" if again else name)


def views(r: Recipe) -> tuple[str, ...]:
    """Views of a photo that an average answers."""
    return r.images.views if "views" in r.ladder.average else ("identity",)


def last_tuned(rungs: Collection[str]) -> str:
    """The most expensive rung that fine-tuned the network; empty if none did."""
    return next((rung for rung in reversed(TUNED) if rung in rungs), "")


def _seed(r: Recipe, number: int) -> int:
    """Seed of one of several trainings; not `seed + number`, which a similar recipe may use."""
    return int(digest("seed", r.seed, number)[:7], 16) if number else r.seed
