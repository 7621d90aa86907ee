"""The test images of a registered model: how often decisions have used them, and how fresh ones are drawn.

A fresh test set is drawn among the images that were not test images so far, which become training and validation
images. Every version up to then has seen the fresh ones, so none of them can be judged on them: the gate leaves out
what either model was trained on. The next run's version is the first that can.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd

from tasks.data import splits
from tasks.evaluation import test_set_budget
from tasks.evaluation.gates import LEAST, Case
from tasks.records import digest
from tasks.runtime.errors import UsageError
from tasks.services import tracking
from tasks.services.registry import locks, registered_models, versions
from tasks.settings import Recipe

#: Tag of a comparison: which test images it used (`test_set_budget.sketch`).
SKETCH = "headstart.test_sketch"


@dataclass(frozen=True)
class TestSet:
    """How worn the newest version's test images are, and what fresh ones would cost."""

    model: str
    version: str
    #: Test images; those of them that the champion was not trained or steered on; and the champion, "" without one.
    images: int
    unseen: int
    champion: str
    #: Decisions between two models that used any of them, and the significance level of the next one.
    decisions: int
    level: float
    #: Images that could become test images of a fresh set, and about how many would.
    others: int
    fresh: int
    #: Whether the next run draws a fresh set.
    drawn: bool

    def summary(self) -> dict[str, Any]:
        """All fields, as JSON values."""
        return asdict(self)

    @property
    def sentences(self) -> tuple[str, ...]:
        """The same in words."""
        used = {0: "no decision between two models has", 1: "1 decision has"}.get(
            self.decisions, f"{self.decisions} decisions have"
        )
        said = [
            f"{self.model} version {self.version} was judged on {self.images:,} test images. So far {used} used any of "
            f"them; the next one has a significance level of {self.level:.2%}."
        ]
        if self.champion:
            said.append(f"The champion, version {self.champion}, has not seen {self.unseen:,} of them.")
        if self.drawn:
            return (*said, "The next run draws a fresh test set.")
        return (
            *said,
            f"A fresh test set would take about {self.fresh:,} of the {self.others:,} other images, and these "
            f"{self.images:,} would be trained on. It costs a training, and the comparison with today's champion: all "
            "versions so far have seen the fresh images, so the next run's version is compared on almost none, and a "
            "person has to promote it. To draw it: the same command with --fresh.",
        )


def look(recipe: Recipe) -> TestSet:
    """The test set of a recipe's model as it is. Raises `UsageError` if no version is registered."""
    name, data = recipe.name, _data(recipe.name)
    tested = data["split"] == "test"
    champion = registered_models.alias(name, registered_models.CHAMPION)
    earlier = versions.data_of(name, str(champion.version)) if champion else None
    unseen = splits.unseen(_grouped(data), splits.units(_grouped(data)), earlier)
    decisions = worn(data[tested], "")
    newest = versions.newest(name)
    return TestSet(
        model=name,
        version=newest,
        images=int(tested.sum()),
        unseen=int(unseen[tested].sum()),
        champion=str(champion.version) if champion else "",
        decisions=decisions,
        level=test_set_budget.level(recipe.decision.significance, decisions),
        others=int((~tested).sum()),
        fresh=min(int((~tested).sum()), round(recipe.split.test * len(data))),
        drawn=versions.fresh(name)[0] == newest,
    )


def worn(rows: pd.DataFrame, before: str) -> int:
    """How many decisions between two models have used any of the test images, rows of (key).

    `before`: digest of the stage that asks; this stage and later ones are left out.
    """
    earlier = [tags[SKETCH] for tags in tracking.decided(before)]
    return test_set_budget.worn(test_set_budget.sketch(rows["key"]), earlier)


def identity(rows: pd.DataFrame) -> str:
    """Digest of the test images and their labels, rows of (key, label)."""
    return digest("test set", list(rows["key"]), list(rows["label"]))


def use(case: Case, rows: pd.DataFrame) -> None:
    """Count what the running stage has judged as a use of its test images, rows of (key, label).

    A judgement without a champion, or on too few images to compare two models, is none.
    """
    if case.pair and case.pair.units >= LEAST:
        # The sketch first: the other tag finds the run.
        tracking.log_tag(SKETCH, test_set_budget.sketch(rows["key"]))
        tracking.log_tag("headstart.test_set", identity(rows))


def draw(recipe: Recipe) -> TestSet:
    """Have the next run draw a fresh test set; the test set as `look` tells it.

    Raises `UsageError` if no version is registered, or the test images are the newest ones.
    """
    if recipe.split.by_time:
        raise UsageError(
            f"Expected a recipe whose test images are drawn at random, found split.by_time = {recipe.split.by_time!r}: "
            "the newest images are test images, and newer ones make the test set fresh."
        )
    found, salt = look(recipe), versions.fresh(recipe.name)[1]
    with locks.held(registered_models.address(), recipe.name):
        text = f"{found.version} {digest('fresh test set', recipe.name, found.version, salt)[:12]}"
        registered_models.tag_model(recipe.name, versions.FRESH, text)
    return replace(found, drawn=True)


def _data(name: str) -> pd.DataFrame:
    newest = versions.newest(name)
    data = versions.data_of(name, newest) if newest else None
    if data is None:
        raise UsageError(f"Expected a registered version of {name} with its data, found none. Train it first.")
    return data


def _grouped(data: pd.DataFrame) -> pd.DataFrame:
    """The rows as `splits.units` reads them; older versions have no groups."""
    return data.assign(uri=data["key"], group=data.get("group"))
