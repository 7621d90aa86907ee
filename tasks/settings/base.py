"""Every setting of a run: checked once, here, then frozen. A recipe is a TOML file with the differences from these."""

import difflib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tasks.runtime import plugins
from tasks.runtime.errors import UsageError

Share = Annotated[float, Field(ge=0, lt=1)]
Pooling = Literal["avg", "avg_max_std", "multi_level", "none"]
View = Literal["identity", "flip_left_right", "flip_up_down", "rotate_180", "rotate_90", "rotate_270"]


class Settings(BaseModel):
    """What all settings share: frozen, and no key that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(Settings):
    """Where photos and labels come from."""

    kind: str = Field("folder", description="Where the photos are: a name from `headstart sources`")
    options: dict[str, Any] = Field({}, description="What the source takes, e.g. `path`")
    licence: str = Field("", description="Licence of the photos, for the model card")


class Split(Settings):
    """How the images are shared out."""

    test: Share = Field(0.2, description="Share of the images kept for evaluate")
    validation: Share = Field(0.15, description="Share of the images that training is steered by")
    salt: str = Field("headstart", description="Another salt draws another split")

    @model_validator(mode="after")
    def leaves_training_data(self) -> "Split":
        """All three splits get images."""
        if self.test + self.validation >= 1 or not self.test or not self.validation:
            raise ValueError("test and validation must each be above 0 and leave some images to train on")
        return self


class Validation(Settings):
    """What the data must be like."""

    suites: tuple[str, ...] = Field(("images",), description="Expectation suites, files of `tasks/data/expectations`")
    max_rejected: Share = Field(0.01, description="Share of files that may be unreadable before the run stops")
    classes: tuple[str, ...] = Field((), description="The labels that may occur; empty: any")
    min_images: int = Field(1, ge=1, description="Images that each class needs in each split")
    min_side: int = Field(8, ge=1, description="Smallest width and height, pixels")
    max_side: int = Field(20_000, ge=1, description="Largest width and height, pixels")
    max_aspect: float = Field(10.0, ge=1, description="Longer side over shorter side; more is a warning")
    min_balance: Share = Field(0.1, description="Smallest class over largest class; less is a warning")


class Images(Settings):
    """How photos become network input."""

    size: int = Field(224, ge=32, le=2048, description="Side of the prepared square, pixels")
    fit: Literal["squash", "crop", "pad"] = Field(
        "crop", description="How a photo becomes square: `crop` to its middle, `squash`, or `pad` with black"
    )
    max_pixels: int = Field(100_000_000, ge=1, description="Photos with more pixels are set aside unread")
    views: tuple[View, ...] = Field(
        ("identity", "flip_left_right"), min_length=1, description="Fixed augmented copies that training sees"
    )
    keep: bool = Field(True, description="Keep prepared images; else they are decoded whenever they are needed")


class Candidate(Settings):
    """A pretrained network."""

    kind: str = Field(
        "efficientnet_lite",
        description="A name from `headstart backbones`, or `auto`: the one of `select.candidates` that ranks first",
    )
    options: dict[str, Any] = Field({}, description="What the backbone takes, e.g. `variant`")
    weights: str = Field(
        "auto",
        description="`packaged`, `imagenet` or `random`, as the backbone has them; or a file: a path or "
        "`package:NAME/FILE`, with an optional `#sha256=…`; `auto`: the backbone's own",
    )


class Backbone(Candidate):
    """The pretrained network that is used, and what its features are."""

    pooling: Pooling = Field(
        "avg",
        description="How the feature map becomes features: `avg`, `avg_max_std`, `multi_level` (at several depths) or "
        "`none` (the map itself)",
    )

    @model_validator(mode="after")
    def is_named_or_open(self) -> "Backbone":
        """A choice that is left open has no options yet."""
        if self.kind == "auto" and (self.options or self.weights != "auto"):
            raise ValueError("kind = 'auto' takes options and weights from select.candidates, and none here")
        return self


class Select(Settings):
    """Which backbone, where `backbone.kind` is `auto`: candidates are ranked before any training."""

    candidates: tuple[Candidate, ...] = Field(
        (),
        description="Tables of `kind`, `options` and `weights`; empty: all whose weights are installed with Headstart",
    )
    sample: int = Field(500, ge=10, le=10_000, description="Training images that they are ranked on")


class Extract(Settings):
    """How the frozen network is run; none of it changes what comes out beyond rounding."""

    engine: str = Field("auto", description="`auto`, or a name from `headstart engines`")
    batch_size: int = Field(32, ge=1, description="Images a step")
    dtype: Literal["float16", "float32"] = Field("float32", description="How features are stored")
    runner: Literal["local", "dask"] = Field("local", description="Where extraction runs: in this process, or on Dask")
    shards: int = Field(8, ge=1, description="With Dask: tasks that the images are split into")
    workers: int = Field(2, ge=1, description="With Dask and no address: processes of a cluster on this machine")
    address: str = Field("", description="With Dask: address of a scheduler, such as tcp://host:8786")


class Training(Settings):
    """How weights are trained, whichever they are: AdamW, with the weights of the best epoch kept."""

    epochs: int = Field(100, ge=1, description="Most passes over the training images and their views")
    patience: int = Field(10, ge=1, description="Epochs without a better validation loss before training stops")
    weight_decay: float = Field(1e-2, ge=0, description="AdamW weight decay")
    batch_size: int = Field(64, ge=1, description="Images a step")
    warm_up: Share = Field(0.0, description="Share of the steps in which the step size rises from 0")
    clip_norm: float = Field(0.0, ge=0, description="Gradients are scaled down to this norm; 0: left as they are")
    ema: Share = Field(
        0.0, description="Momentum of the moving average of the weights, which is then what is validated; 0: none"
    )


class Head(Training):
    """The new last layers, and how they are trained."""

    kind: str = Field("linear", description="A name from `headstart heads`")
    options: dict[str, Any] = Field({}, description="What the head takes, e.g. `units`")
    learning_rate: float = Field(1e-3, gt=0, description="AdamW step size")


class Tune(Settings):
    """A search for the head's settings on stored features, before the ladder."""

    enabled: bool = Field(False, description="Search for the head's settings on stored features first")
    trials: int = Field(50, ge=1, description="Trials of the search; those of an interrupted one count")
    minutes: float = Field(0.0, ge=0, description="No trial is begun after so long; 0: no bound")
    heads: tuple[str, ...] = Field(
        ("linear", "mlp", "cosine"), min_length=1, description="Heads to try, of those that are trained"
    )
    poolings: tuple[Literal["avg", "avg_max_std", "multi_level"], ...] = Field(
        (), description="Poolings to try; empty: the backbone's own. The best is then `backbone.pooling`"
    )
    views: bool = Field(
        False, description="Also try the photos as they are, without their other views; the best is then `images.views`"
    )
    folds: Annotated[int, Field(ge=0)] | Literal["auto"] = Field(
        "auto",
        description="Parts of the training and validation images that take turns in validating; 0: the validation "
        "images alone do; `auto`: 5 for fewer than 1,000 images, else 0",
    )
    epochs: int = Field(10, ge=1, description="Most epochs of a trial")
    batch_size: int = Field(256, ge=1, description="Images a step, in the trials and then in `head`")

    @model_validator(mode="after")
    def folds_are_several(self) -> "Tune":
        """One part cannot take turns."""
        if self.folds == 1:
            raise ValueError("folds = 1 leaves nothing to train on; take 0, or 2 and more")
        return self

    def turns(self, counts: dict[str, int]) -> int:
        """Folds for a data set with so many images in each split; 0: none."""
        if self.folds != "auto":
            return self.folds
        return 5 if counts["train"] + counts["validation"] < 1000 else 0


class Loss(Settings):
    """What training counts as wrong, in train head and fine-tune alike."""

    balance: Literal["none", "weights", "sampling"] = Field(
        "none",
        description="Unequal classes: `weights` counts images of a rare class for more, `sampling` draws every class "
        "equally often",
    )
    label_smoothing: Share = Field(0.0, description="Share of a label that is spread over all classes")


class Tuning(Training):
    """Training of the network itself, after the head."""

    patience: int = Field(2, ge=1, description="Epochs without a better validation loss before training stops")
    learning_rate: Annotated[float, Field(gt=0)] | Literal["find"] = Field(
        3e-4, description="AdamW step size at first; falls along a cosine to 0. `find`: read off a trial run"
    )
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="Step size of a block over that of the block above it, the head has it whole"
    )
    strategy: Literal["auto", "mirrored", "none"] = Field(
        "auto",
        description="`auto`: copies of the network on every GPU where there are several; `mirrored`: always; "
        "`none`: never",
    )
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"] = Field(
        "auto", description="What is multiplied; `auto`: mixed where a GPU is seen, float32 elsewhere"
    )
    jitter: Share = Field(
        0.0, description="With a live trunk: largest random change of brightness and contrast, and views at random"
    )


class FineTune(Tuning):
    """Training of the last blocks after the head."""

    enabled: bool = Field(True, description="Train the last blocks too, starting from the trained head")
    blocks: int = Field(5, ge=1, description="How many of the backbone's last blocks are trained")
    epochs: int = Field(3, ge=1, description="Most passes over the training images and their views")
    trunk: Literal["cached", "live"] = Field(
        "cached", description="`cached`: the frozen blocks see each view once; `live`: they run in every epoch"
    )

    @model_validator(mode="after")
    def jitters_live(self) -> "FineTune":
        """What is cached cannot be changed at random."""
        if self.jitter and self.trunk == "cached":
            raise ValueError('jitter changes pixels at random, which needs trunk = "live"')
        return self


class Whole(Tuning):
    """Training of the whole network after the head, from pixels; batch normalisation stays as it was."""

    epochs: int = Field(10, ge=1, description="Most passes over the training images, in a random view each time")
    layer_decay: float = Field(
        0.8, gt=0, le=1, description="Step size of a block over that of the block above it, the head has it whole"
    )


#: From the cheapest to the dearest; what is shipped is the first that is not significantly worse than the best.
Rung = Literal["knn", "probe", "head", "blocks", "whole"]
#: Those that train the network itself.
TUNED = ("blocks", "whole")


class Ladder(Settings):
    """Which models are tried, and which of them is shipped; decided on validation images alone."""

    start_at: Literal["knn", "probe", "head"] = Field("knn", description="The first rung")
    stop_at: Rung = Field(
        "blocks",
        description="The last rung: `knn` (nearest neighbours), `probe` (linear head), `head` (the recipe's), `blocks` "
        "(the last blocks too), `whole` (every block)",
    )
    interpolate: bool = Field(True, description="Try weights between the frozen network's and the fine-tuned ones too")
    average: tuple[Literal["views", "rungs"], ...] = Field(
        (),
        description="Try the mean of several answers too: to all `views` of a photo, of two `rungs` (the best on the "
        "frozen network and the best that trained it), or both; each answer costs its time",
    )
    seeds: int = Field(
        1,
        ge=1,
        le=10,
        description="So often the best rung that trained the network is trained for the average, each time with other "
        "random numbers",
    )
    backbones: tuple[Candidate, ...] = Field(
        (),
        description="Other backbones that are trained like the recipe's own for the average: tables of `kind`, "
        "`options` and `weights`",
    )
    max_minutes: float = Field(0.0, ge=0, description="No rung is begun after this time; 0: no bound")
    confidence: float = Field(
        0.95, gt=0.5, lt=1, description="How sure it must be that a cheaper rung is worse before a dearer one is taken"
    )
    ship: Literal["", Rung, "interpolated", "averaged"] = Field(
        "", description="Ship this rung, whatever the others give; empty: the cheapest that is not surely worse"
    )
    refit: bool = Field(False, description="Train the chosen rung again with the validation images among the others")

    @model_validator(mode="after")
    def goes_up(self) -> "Ladder":
        """The last rung is not below the first."""
        rungs = get_args(Rung)
        if rungs.index(self.stop_at) < rungs.index(self.start_at):
            raise ValueError(f"start_at = {self.start_at!r} lies above stop_at = {self.stop_at!r}")
        return self


class Slices(Settings):
    """Parts of the test images that the model is scored on one by one; nothing is decided by them."""

    columns: tuple[str, ...] = Field(
        (), description="Columns of the source to slice by; empty: all that have at most 20 values"
    )
    derived: tuple[Literal["brightness", "size", "sharpness"], ...] = Field(
        ("brightness", "size", "sharpness"),
        description="What is read of the photos to slice by, in quarters of the training images (`size`: pixels)",
    )
    metric: Literal["accuracy", "log_loss"] = Field("accuracy", description="What gaps between slices are in")
    min_images: int = Field(30, ge=2, description="Test images that a slice needs to be judged, and the rest too")


class TransferCheck(Settings):
    """Are the pretrained weights better than random ones here?"""

    enabled: bool = Field(True, description="Compare the pretrained weights with random ones in every run")
    images: int = Field(1000, ge=1, description="Training images, and validation images, that the check takes at most")


class Audit(Settings):
    """What is looked for in the data that would spoil the verdict; nothing is changed by it."""

    enabled: bool = Field(True, description="Look for copies across splits, wrong labels and shortcuts in every run")
    similarity: float = Field(
        0.95,
        gt=0.5,
        lt=1,
        description="Correlation of their fine structure from which on two images are near-duplicates",
    )
    images: int = Field(20_000, ge=2, description="Images among which near-duplicates are looked for at most")
    shortcut_margin: Share = Field(
        0.1,
        description="Balanced accuracy above chance that brightness, size or format must surely exceed to be flagged",
    )


Method = Literal["frozen", "small_cnn", "fine_tuned", "scratch"]


class Compare(Settings):
    """The learning curves of `headstart compare`."""

    methods: tuple[Method, ...] = Field(
        get_args(Method),
        min_length=1,
        description="In this order: `frozen` (a linear head on stored features), `small_cnn` (a small network of its "
        "own), `fine_tuned` (the last blocks too), `scratch` (the same architecture from random weights)",
    )
    shares: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        (0.05, 0.1, 0.25, 0.5, 1.0), description="Shares of the training images to learn from"
    )
    per_class: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (5, 10, 20), description="And so many training images of each class"
    )
    seeds: int = Field(1, ge=1, description="How often each point is trained, each time on other images")
    epochs: int = Field(15, ge=1, description="Passes over the training images from random weights")
    scratch_size: int = Field(
        0, ge=0, le=2048, description="Side of the images that `scratch` sees, pixels; 0: `images.size`"
    )
    small_size: int = Field(64, ge=32, le=2048, description="Side of the images that `small_cnn` sees, pixels")
    max_minutes: float = Field(
        30.0, ge=0, description="No point is begun after this time; the same command goes on from there. 0: no bound"
    )


class Calibration(Settings):
    """What every version says of its own answers, read off the validation images."""

    coverage: float = Field(
        0.9,
        gt=0.5,
        lt=1,
        description="Chance that the set of classes that a version answers with holds the label, whichever it is",
    )
    precision: float = Field(
        0.95, gt=0.5, lt=1, description="Share of right answers, at least, among those that it does not abstain from"
    )
    false_alarms: float = Field(
        0.05, gt=0, lt=0.5, description="Share, at most, of images like the others that it calls new"
    )
    neighbours: int = Field(
        5, ge=1, le=50, description="An image is as new as its so-manieth nearest training image is far"
    )
    reference: int = Field(512, ge=1, le=5000, description="Training images that it keeps the features of, at most")


class Decision(Settings):
    """How sure a decision between two models has to be."""

    significance: float = Field(
        0.05,
        gt=0,
        lt=0.5,
        description="Chance, at most, that any decision on the same test images sees a difference that is not there; "
        "the first has half of it, the next less and less",
    )
    power: float = Field(
        0.8, gt=0, lt=1, description="Chance that as many images as `undecided` asks for show today's difference"
    )


class Retrain(Settings):
    """When `headstart retrain` trains again."""

    min_new: int = Field(50, ge=1, description="New or relabelled images below which nothing is trained")
    significance: float = Field(
        0.05,
        gt=0,
        lt=0.5,
        description="Chance that images like the others are taken for a reason to train: for drift, for a weaker "
        "champion, or for what a probe gains",
    )
    force_after: int = Field(
        0, ge=0, description="Train whatever is new after so many looks without training; 0: never"
    )
    settle: float = Field(30.0, gt=0, description="Seconds without a change after which new files count as all there")


class Observe(Settings):
    """What a run is watched by; none of it changes a result."""

    system_metrics: bool = Field(
        True, description="Processor, memory, disk, network and GPUs, as MLflow's system metrics"
    )
    every: float = Field(10.0, ge=1, description="Seconds between two looks at the machine")
    energy: str = Field(
        "",
        pattern="^([A-Z]{3})?$",
        description="Country, as three ISO letters, with whose power energy and CO2 are estimated; empty: not at all",
    )


class Scoring(Settings):
    """How a version answers many images; none of it changes what it says beyond rounding."""

    engine: str = Field("auto", description="`auto`, or a name from `headstart engines`")
    batch_size: int = Field(32, ge=1, description="Images a step")


class Gates(Settings):
    """What the gate stage reads: the registered model, the conditions, and how they are judged."""

    model: str
    gates: dict[str, dict[str, Any]]
    decision: Decision
    slices: Slices
    seed: int


class Promotion(Settings):
    """How a version becomes the champion, and what it is checked by."""

    approval: bool = Field(False, description="A version that the gates let through waits for a person's yes")
    golden: int = Field(8, ge=1, le=64, description="Test images kept inside each version, as they are, to check it by")
    tolerance: float = Field(
        1e-3,
        gt=0,
        lt=1,
        description="How far a probability of such an image may be from that of evaluate, on whichever machine",
    )


class Recipe(Settings):
    """One experiment, and the model that it keeps in the registry."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$", description="Experiment and registered model")
    seed: int = Field(0, ge=0, lt=2**31, description="Same seed, same machine: same result")
    backend: Literal["tensorflow", "torch", "jax"] = Field(
        "tensorflow", description="What Keras computes with; `torch` and `jax` are extras to install"
    )
    source: Source = Source()
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

    @property
    def judging(self) -> Gates:
        """What the gate stage reads."""
        return Gates(model=self.name, gates=self.gates, decision=self.decision, slices=self.slices, seed=self.seed)

    @property
    def rungs(self) -> tuple[str, ...]:
        """The rungs that the recipe wants, from the cheapest to the dearest."""
        names, wanted = get_args(Rung), self.ladder
        rungs = list(names[names.index(wanted.start_at) : names.index(wanted.stop_at) + 1])
        if not self.fine_tune.enabled:
            rungs = [rung for rung in rungs if rung not in TUNED]
        if wanted.interpolate and any(rung in TUNED for rung in rungs):
            rungs.append("interpolated")
        several = wanted.average or wanted.seeds > 1 or wanted.backbones
        return (*rungs, "averaged") if several else tuple(rungs)

    def backbones_of(self, rung: str) -> tuple[Backbone, ...]:
        """The backbones inside a rung's model: the recipe's own and, in the average, the others, pooled alike."""
        others = self.ladder.backbones if rung == "averaged" else ()
        return (self.backbone, *(self.backbone.model_copy(update=dict(each)) for each in others))

    @property
    def cut(self) -> int:
        """Last blocks of the backbone that will be trained on what the others give, kept; 0: none."""
        return self.fine_tune.blocks if "blocks" in self.rungs and self.fine_tune.trunk == "cached" else 0

    @model_validator(mode="after")
    def ships_what_it_climbs(self) -> "Recipe":
        """The rung to ship is one of those that are tried."""
        if self.ladder.ship not in ("", *self.rungs):
            raise ValueError(
                f"ladder.ship = {self.ladder.ship!r} is none of the rungs that are tried: {', '.join(self.rungs)}"
            )
        return self

    @model_validator(mode="after")
    def mirrors_with_tensorflow(self) -> "Recipe":
        """Copies on several GPUs are TensorFlow's."""
        if "mirrored" in (self.fine_tune.strategy, self.whole.strategy) and self.backend != "tensorflow":
            raise ValueError('strategy = "mirrored" needs backend = "tensorflow"')
        return self


def load(path: Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """A recipe from a TOML file, with overrides such as `head.options.units=256` on top.

    Plugin names and options are checked against the plugins' signatures. Raises `UsageError` with every culprit.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: expected a TOML file, found a mistake: {error}.") from None
    for override in overrides:
        _set(values, override)
    return check(values, str(path))


def check(values: dict[str, Any], where: str) -> Recipe:
    """Values of a recipe as a frozen `Recipe` whose plugins exist and accept their options."""
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        raise UsageError(f"{where}: {plugins.explain(error)}{_suggest(error)}") from None
    culprits = list(_culprits(recipe))
    if culprits:
        raise UsageError(f"{where}: {' '.join(culprits)}")
    return recipe


def check_engine(name: str, backend: str) -> None:
    """Raise `UsageError` when there is no such engine, or it does not run networks of this backend of Keras."""
    if name == "auto":
        return
    known = plugins.load("engines", name).BACKENDS
    if backend not in known:
        raise UsageError(
            f"extract.engine: {name} runs networks of the backend {' or '.join(known)}, found backend = {backend!r}. "
            f"Take engine {backend!r} or 'auto'."
        )


def check_weights(backbone: Backbone) -> None:
    """Raise `UsageError` or `DependencyError` when a file of weights is not there, or is not the one that is meant."""
    if backbone.weights != "auto" and backbone.kind in plugins.names("backbones"):
        plugins.load("backbones", backbone.kind).fingerprint(backbone.weights, backbone.options)


def check_trained(head: Head, fine_tune: FineTune) -> None:
    """Raise `UsageError` when a head that is not trained should be fine-tuned."""
    if fine_tune.enabled and head.kind in plugins.names("heads") and hasattr(plugins.load("heads", head.kind), "learn"):
        raise UsageError(f"fine_tune.enabled: expected false for head {head.kind}, in which nothing is trained.")


def check_tune(tune: Tune, backbone: Backbone) -> None:
    """Raise `UsageError` when a head of the search is not trained, or feature maps should be pooled after all."""
    fixed = [name for name in tune.heads if hasattr(plugins.load("heads", name), "learn")]
    if fixed:
        raise UsageError(f"tune.heads: expected heads that are trained, found {', '.join(fixed)}.")
    if tune.enabled and tune.poolings and backbone.pooling == "none":
        raise UsageError("tune.poolings: expected none with backbone.pooling = 'none', whose heads want the whole map.")


def _culprits(recipe: Recipe) -> Iterator[str]:
    """What is wrong with the plugins that a recipe names, a sentence each."""
    wanted: list[tuple[str, str, dict[str, Any], str]] = [
        ("sources", recipe.source.kind, recipe.source.options, "source.options"),
        ("heads", recipe.head.kind, recipe.head.options, "head.options"),
    ]
    networks: list[tuple[str, Candidate]] = [("backbone", recipe.backbone)] if recipe.backbone.kind != "auto" else []
    networks += [(f"select.candidates.{place}", each) for place, each in enumerate(recipe.select.candidates)]
    networks += [(f"ladder.backbones.{place}", each) for place, each in enumerate(recipe.ladder.backbones)]
    wanted += [("backbones", each.kind, each.options, f"{where}.options") for where, each in networks]
    wanted += [("expectations", suite, {}, "validation.suites") for suite in recipe.validation.suites]
    wanted += [("gates", gate, options, f"gates.{gate}") for gate, options in recipe.gates.items()]
    for kind, name, options, where in wanted:
        try:
            plugins.bind(kind, name, options, where)
        except UsageError as error:
            yield str(error) if where in str(error) else f"{where.removesuffix('.options')}: {error}"
    for check, parts in (
        (check_engine, (recipe.extract.engine, recipe.backend)),
        (check_weights, (recipe.backbone,)),
        (check_trained, (recipe.head, recipe.fine_tune)),
        (check_tune, (recipe.tune, recipe.backbone)),
    ):
        try:
            check(*parts)
        except UsageError as error:
            yield str(error)


def _set(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not re.fullmatch(r"[\w-]+(\.[\w-]+)*", key):
        raise UsageError(f"--set: expected KEY=VALUE such as head.options.units=256, found {override!r}.")
    *tables, last = key.split(".")
    for table in tables:
        values = values.setdefault(table, {})
        if not isinstance(values, dict):
            raise UsageError(f"--set {override}: {table} holds a value, so it can have no keys.")
    try:
        values[last] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        values[last] = text


def _suggest(error: ValidationError) -> str:
    tables = (getattr(field.annotation, "model_fields", {}) for field in Recipe.model_fields.values())
    known = set(Recipe.model_fields).union(*tables)
    wrong = [str(item["loc"][-1]) for item in error.errors() if item["type"] == "extra_forbidden"]
    close = [match for key in wrong for match in difflib.get_close_matches(key, sorted(known), 1)]
    return f" Did you mean {', '.join(close)}?" if close else ""
