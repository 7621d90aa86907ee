"""The ladder: from nearest neighbours to the whole network, each rung more expensive than the one before."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache, partial

from flows.parts.rungs import Rungs, last_tuned, views
from tasks.networks import heads
from tasks.records import AuditRef, FeaturesRef, ImagesRef, LadderRef, ModelRef, RaceRef, WarmRef
from tasks.settings import TABLES, TUNED, Recipe
from tasks.stages.models.choose import choose

#: A rung that trains the network is begun if this share of its minutes is left.
ENOUGH = 0.5
#: Nearest neighbours store every image; with more than this many the rung is not cheap.
KNN_IMAGES = 20_000
#: Trains a rung; of one that trains the network, within minutes if they are not 0.
Step = Callable[[float], ModelRef | WarmRef]


def climb(
    images: ImagesRef, features: FeaturesRef, audited: AuditRef, recipe: Recipe, started: float, repeat: bool = False
) -> LadderRef:
    """Train the recipe's rungs within its time limit, and choose one.

    `started`: start of the run, by `time.perf_counter()`. `repeat`: a warm start from the champion is a rung too.
    """
    so_far = _Climb(Rungs(images, features, recipe, audited), repeat)
    reason, note = f"the recipe stops at {recipe.ladder.stop_at}", ""
    for rung, step in so_far.steps():
        minutes, most = (time.perf_counter() - started) / 60, recipe.ladder.max_minutes
        wanted = recipe.tuning(rung).tuning.minutes if rung in TUNED else 0.0
        if so_far.made and 0 < most < minutes + wanted * ENOUGH:
            reason = f"{minutes:.1f} of {most:g} minutes had passed before {rung}"
            if most < minutes:
                break
            reason += f", which may take {wanted:.1f}"
            continue
        made = step(round(most - minutes, 1) if 0 < most < minutes + wanted else 0.0)
        model = made.model if isinstance(made, WarmRef) else made
        note += f". {made.reason}" if isinstance(made, WarmRef) else ""
        if model:
            so_far.made[rung] = model
    else:
        if "warm" in so_far.made and any(rung in TUNED for rung in recipe.rungs) and not last_tuned(so_far.made):
            reason = "the warm start is not surely worse than the rungs before it"
    by_cost = [*recipe.heads, "warm", *recipe.rungs]
    found = tuple(sorted(so_far.made.values(), key=lambda each: by_cost.index(each.rung)))
    ladder = choose(images.dataset, audited, found, recipe.ladder, reason + note, recipe.seed)
    return replace(ladder, races=tuple(so_far.races))


def refitted(
    images: ImagesRef, features: FeaturesRef, audited: AuditRef, recipe: Recipe, ladder: LadderRef
) -> ModelRef:
    """The chosen rung; with `ladder.refit`, trained again on training and validation images."""
    if not recipe.ladder.refit:
        return ladder.chosen
    train, before = Rungs(images, features, recipe, audited, False), {rung.rung: rung for rung in ladder.rungs}

    @cache
    def again(name: str) -> ModelRef:
        """A rung, trained after those that it depends on."""
        rung, last = before[name], last_tuned(before)
        if rung.origin.averages:
            members = [again(each) for each in train.chosen_of(rung.origin.averages)]
            return train.averaged(train.repeated(members, partial(again, "head"), before), rung)
        if name in recipe.heads:
            return train.head(name, rung)
        if name == "distilled":
            return train.distilled(again("head"), again("averaged"), rung)
        if name == "souped":
            return train.souped(last, [again(last), *train.trainings(last, again("head"), before[last])], rung)
        if name == "interpolated":
            return train.between(last, again("head"), again(last), rung)
        return train.tuned(name, again("head"), rung)

    return again(ladder.chosen.rung)


@dataclass
class _Climb:
    """What was made on the way up, and what comes next."""

    train: Rungs
    #: Whether a warm start from the champion is a rung.
    repeat: bool
    made: dict[str, ModelRef] = field(default_factory=dict)
    races: list[RaceRef] = field(default_factory=list)

    def steps(self) -> Iterator[tuple[str, Step]]:
        """Name of each of the recipe's rungs, and what trains it once those before exist."""
        yield from self._on_frozen()
        r = self.train.recipe
        if self.repeat and r.ladder.warm != "never" and "blocks" in r.rungs:
            yield "warm", lambda _: self.train.warm(self.made["head"])
        enough = r.ladder.warm == "first" and "warm" in self.made and self._enough()
        for rung in TUNED:
            if rung in r.rungs and not enough:
                yield rung, partial(self._tuned, rung)
        last = last_tuned(self.made)
        if "interpolated" in r.rungs and last:
            yield "interpolated", lambda _: self.train.between(last, self.made["head"], self.made[last])
        if "souped" in r.rungs and last:
            yield "souped", partial(self._souped, last)
        if "averaged" in r.rungs:
            yield from self._of_several()

    def _on_frozen(self) -> Iterator[tuple[str, Step]]:
        r = self.train.recipe
        for rung, head in r.heads.items():
            repeated = rung != "head" and "head" in r.rungs and heads.alike(head, r.head)
            crowded = rung == "knn" and self.train.images.dataset.counts["train"] > KNN_IMAGES
            if rung in r.rungs and not repeated and not crowded:
                yield rung, partial(self._head, rung)

    def _of_several(self) -> Iterator[tuple[str, Step]]:
        r, best = self.train.recipe, self._to_average()
        trainings = r.ladder.seeds if best[-1].rung in TUNED else 1
        if len(best) * len(views(r)) > 1 or r.ladder.backbones or trainings > 1:
            yield "averaged", lambda _: self.train.averaged(self.train.repeated(best, lambda: self.made["head"]))
            if "distilled" in r.rungs:
                yield "distilled", lambda _: self.train.distilled(self.made["head"], self.made["averaged"])

    def _head(self, rung: str, _: float) -> ModelRef:
        return self.train.head(rung)

    def _tuned(self, rung: str, minutes: float) -> ModelRef:
        """With the settings that are best in a race, if there is one."""
        head = self.made["head"]
        limited, race = replace(self.train, recipe=self.train.recipe.within(rung, minutes)).raced(rung, head)
        if race:
            self.races.append(race)
            if most := limited.recipe.tuning(rung).tuning.minutes:
                left = most - sum(trial.seconds for trial in race.trials) / 60
                limited = replace(limited, recipe=limited.recipe.within(rung, round(max(left, most * ENOUGH), 2)))
            self.train = replace(self.train, recipe=self.train.recipe.with_settings(TABLES[rung], race.chosen))
        return limited.tuned(rung, head)

    def _souped(self, rung: str, _: float) -> ModelRef:
        return self.train.souped(rung, [self.made[rung], *self.train.trainings(rung, self.made["head"])])

    def _compared(self, label: str, reason: str) -> LadderRef:
        """The rungs so far, beside each other."""
        train, r, rungs = self.train, self.train.recipe, tuple(self.made.values())
        return choose.labelled(label)(train.images.dataset, train.audited, rungs, r.ladder, reason, r.seed)

    def _enough(self) -> bool:
        """Whether the warm start is not surely worse than the rungs on the frozen network."""
        found = self._compared("choose_warm_start", "the warm start")
        return any(score.rung == "warm" and not score.surely_worse for score in found.scores)

    def _to_average(self) -> list[ModelRef]:
        """The best rung, or the best on the frozen network and the best fine-tuned one.

        Of two, one that is surely worse is left out if the other one's answers for several views are averaged.
        """
        r = self.train.recipe
        found = self._compared("choose_to_average", "the average")
        scores = {score.rung: score for score in found.scores}

        def best(some: Iterable[ModelRef]) -> list[ModelRef]:
            return sorted(some, key=lambda rung: scores[rung.rung].gap)[:1]

        if "rungs" not in r.ladder.average:
            return best(found.rungs)
        both = best(rung for rung in found.rungs if rung.on_frozen)
        both += best(rung for rung in found.rungs if not rung.on_frozen)
        good = [rung for rung in both if not scores[rung.rung].surely_worse]
        return good if len(views(r)) > 1 else both
