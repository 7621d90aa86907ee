"""A whole recipe: one experiment, and the model that it keeps in the registry."""

from typing import Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from tasks.settings.base import Settings
from tasks.settings.curves import Compare
from tasks.settings.data import Audit, Images, Labels, Source, Split, Validation
from tasks.settings.effort import Effort, budget, ladder_of, unset
from tasks.settings.evaluation import Calibration, Decision, Evaluation, Gates, Slices
from tasks.settings.features import Backbone, Extract, Extraction, Select, TransferCheck
from tasks.settings.models import (
    TABLES,
    TUNED,
    FineTune,
    Head,
    HeadSearch,
    HeadTraining,
    Ladder,
    Loss,
    NetworkTraining,
    Rung,
    Tune,
    WarmStart,
    Whole,
)
from tasks.settings.release import Promotion, Release
from tasks.settings.retraining import Retrain

#: What a run without a search takes, minutes.
LEAST_MINUTES = 0.5


class Observe(Settings):
    """How a run is monitored; this changes no result."""

    system_metrics: bool = Field(
        True, description="Processor, memory, disk, network and GPUs, as MLflow's system metrics"
    )
    every: float = Field(10.0, ge=1, description="Seconds between two measurements of the machine")
    energy: str = Field(
        "",
        pattern="^([A-Z]{3})?$",
        description="Country, as three ISO letters, for the estimate of energy and CO2; empty: no estimate",
    )


class Recipe(Settings):
    """One experiment, and the model that it keeps in the registry."""

    #: "Default" is the experiment that MLflow makes itself, whose artifacts would lie in the working folder.
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$", description="Experiment and registered model")
    seed: int = Field(0, ge=0, lt=2**31, description="Same seed, same machine: same result")
    effort: Effort = Field(
        "none",
        description="What the recipe leaves open is chosen by a search that takes its time: `quick` about one minute, "
        "`standard` four, `best` twenty, for a whole run; `none`: the defaults, without a search",
    )
    minutes: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="Minutes for a whole run, in place of the effort's own, at least 0.5; 0: those",
    )
    backend: Literal["tensorflow", "torch", "jax"] = Field(
        "tensorflow", description="Backend of Keras; `torch` and `jax` are extras to install"
    )
    plugins: str = Field(
        "",
        description="Folder with plugins of your own, such as `heads/NAME.py`, beside the recipe; what is in it is run",
    )
    source: Source = Source()
    labels: Labels = Labels()
    split: Split = Split()
    validation: Validation = Validation()
    images: Images = Images()
    backbone: Backbone = Backbone()
    select: Select = Select()
    extract: Extract = Extract()
    tune: Tune = Tune()
    head: Head = Head()
    loss: Loss = Loss()
    fine_tune: FineTune = FineTune()
    whole: Whole = Whole()
    ladder: Ladder = Ladder()
    slices: Slices = Slices()
    audit: Audit = Audit()
    transfer_check: TransferCheck = TransferCheck()
    compare: Compare = Compare()
    calibration: Calibration = Calibration()
    gates: dict[str, dict[str, Any]] = Field(
        {"not_worse_than_champion": {}}, description="Gates by name, with their options; all must pass"
    )
    decision: Decision = Decision()
    promotion: Promotion = Promotion()
    retrain: Retrain = Retrain()
    observe: Observe = Observe()

    @field_validator("name")
    @classmethod
    def is_its_own(cls, name: str) -> str:
        """No experiment that MLflow has already."""
        if name == "Default":
            raise ValueError("this is the name of an experiment of MLflow's own, choose another one")
        return name

    @field_validator("minutes")
    @classmethod
    def are_enough(cls, minutes: float) -> float:
        """A run without a search and without fine-tuning fits."""
        if 0 < minutes < LEAST_MINUTES:
            raise ValueError(f"expected at least {LEAST_MINUTES}, which a run on few photos takes, or 0")
        return minutes

    @property
    def extraction(self) -> Extraction:
        """What extraction reads."""
        return Extraction(
            backbone=self.backbone,
            extract=self.extract,
            views=self.images.views,
            backend=self.backend,
            refit=self.ladder.refit,
        )

    @property
    def heads(self) -> dict[str, Head]:
        """The rungs on the frozen network, from the cheapest to the most expensive."""
        return {"knn": Head(kind="knn"), "probe": Head(), "head": self.head}

    def training(self, rung: str, folds: int = 0) -> HeadTraining:
        """What training reads of a rung on the frozen network: one of `heads`; `folds` of cross-fitting."""
        return HeadTraining(
            rung=rung,
            backbone=self.backbone,
            head=self.heads[rung],
            loss=self.loss,
            views=self.images.views,
            seed=self.seed,
            folds=folds,
        )

    def tuning(self, rung: str) -> NetworkTraining:
        """What training reads of a rung that trains the network itself: one of `TUNED`."""
        return NetworkTraining(
            tuning=getattr(self, TABLES[rung]),
            loss=self.loss,
            extract=self.extract,
            views=self.images.views,
            seed=self.seed,
        )

    def at_rate(self, rung: str, factor: float) -> "Recipe":
        """The recipe with another learning rate of a rung of `TUNED`, unless the rate is found by a trial run."""
        rate = self.tuning(rung).tuning.learning_rate
        return self if rate == "find" else self._tuned(rung, learning_rate=rate * factor)

    def within(self, rung: str, minutes: float) -> "Recipe":
        """The recipe with fewer minutes for a rung of `TUNED`; 0: with its own."""
        return self._tuned(rung, minutes=minutes) if minutes else self

    def without_limit(self, rung: str) -> "Recipe":
        """The recipe without a limit of minutes for a rung of `TUNED`."""
        return self._tuned(rung, minutes=0.0)

    def with_settings(self, table: str, values: dict[str, Any]) -> "Recipe":
        """The recipe with other settings in a table; raises `pydantic.ValidationError` if they do not fit."""
        given = getattr(self, table)
        changed = type(given).model_validate(given.model_dump(exclude_unset=True) | values)
        return self.model_copy(update={table: changed})

    def _tuned(self, rung: str, **values: Any) -> "Recipe":
        table = TABLES[rung]
        return self.model_copy(update={table: getattr(self, table).model_copy(update=values)})

    @property
    def warm_start(self) -> WarmStart:
        """What training that goes on from the champion reads."""
        return WarmStart(
            model=self.name,
            images=self.images,
            head=self.head,
            training=self.tuning("blocks").model_copy(update={"tuning": self.fine_tune.brief}),
            refit=self.ladder.refit,
        )

    @property
    def search(self) -> HeadSearch:
        """What the search for a head reads."""
        return HeadSearch(
            tune=self.tune,
            backbone=self.backbone,
            head=self.head,
            loss=self.loss,
            views=self.images.views,
            seed=self.seed,
        )

    def release(self, rung: str, search: str = "") -> Release:
        """What registration reads, of a model of this rung; `search`: what the version remembers of it."""
        return Release(
            name=self.name,
            images=self.images,
            backbones=self.backbones_of(rung),
            promotion=self.promotion,
            search=search,
            refit=self.ladder.refit,
        )

    @property
    def evaluation(self) -> Evaluation:
        """What the evaluate stage reads."""
        return Evaluation(slices=self.slices, seed=self.seed, by_time=self.split.by_time)

    @property
    def judging(self) -> Gates:
        """What the gate stage reads."""
        return Gates(model=self.name, gates=self.gates, decision=self.decision, slices=self.slices, seed=self.seed)

    @property
    def rungs(self) -> tuple[str, ...]:
        """The rungs of the recipe, from the cheapest to the most expensive."""
        names, ladder = get_args(Rung), self.ladder
        rungs = list(names[names.index(ladder.start_at) : names.index(ladder.stop_at) + 1])
        if not self.fine_tune.enabled:
            rungs = [rung for rung in rungs if rung not in TUNED]
        if ladder.interpolate and any(rung in TUNED for rung in rungs):
            rungs.append("interpolated")
        if ladder.soup and any(rung in TUNED for rung in rungs):
            rungs.append("souped")
        if ladder.distill:
            rungs.append("distilled")
        return (*rungs, "averaged") if self.averages else tuple(rungs)

    @property
    def _with_effort(self) -> "Recipe":
        """The recipe with the rungs that its effort buys."""
        if self.effort == "none" and not self.minutes:
            return self
        allowed = budget(self.effort, self.minutes)
        found = self.with_settings("ladder", ladder_of(allowed, self.ladder))
        return found.with_settings("fine_tune", unset(self.fine_tune, allowed.fine_tune))

    @property
    def averages(self) -> bool:
        """Whether there is an average of several answers."""
        return bool(self.ladder.average or self.ladder.seeds > 1 or self.ladder.backbones)

    def backbones_of(self, rung: str) -> tuple[Backbone, ...]:
        """The backbones in a rung's model: the recipe's own and, in the average, the others, with the same pooling."""
        others = self.ladder.backbones if rung == "averaged" else ()
        return (self.backbone, *(self.backbone.model_copy(update={**dict(each), "beside": ()}) for each in others))

    @property
    def cut(self) -> int:
        """Last blocks of the backbone that will be trained on stored activations of the others; 0: none."""
        return self.fine_tune.blocks if "blocks" in self.rungs and self.fine_tune.trunk == "cached" else 0

    @model_validator(mode="after")
    def ships_what_it_climbs(self) -> "Recipe":
        """The rung to ship is one of those that are tried."""
        if self.ladder.ship not in ("", *(tried := self._with_effort.rungs)):
            raise ValueError(
                f"ladder.ship = {self.ladder.ship!r} is not one of the rungs that are tried: {', '.join(tried)}"
            )
        return self

    @model_validator(mode="after")
    def distills_an_average(self) -> "Recipe":
        """There is something to learn from, and a network may be trained; photos without labels are for that."""
        whole = self._with_effort
        if self.ladder.distill and not (whole.averages and whole.fine_tune.enabled):
            raise ValueError(
                "ladder.distill = true needs an average to learn from (ladder.average, seeds or backbones) and "
                "fine_tune.enabled"
            )
        if self.ladder.unlabelled and not self.ladder.distill:
            raise ValueError("ladder.unlabelled is only used by ladder.distill = true, found false")
        return self

    @model_validator(mode="after")
    def mirrors_with_tensorflow(self) -> "Recipe":
        """Only TensorFlow makes copies on several GPUs."""
        if "mirrored" in (self.fine_tune.strategy, self.whole.strategy) and self.backend != "tensorflow":
            raise ValueError('strategy = "mirrored" needs backend = "tensorflow"')
        return self
