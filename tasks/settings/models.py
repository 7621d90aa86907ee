"""Settings of training: the head, the search for it, fine-tuning, and the ladder of models."""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from tasks.settings.base import Settings, Share, StageSettings
from tasks.settings.data import Images, Source, View
from tasks.settings.features import Backbone, Candidate, Extract


class Training(Settings):
    """How weights are trained: AdamW, and the weights of the best epoch are kept."""

    epochs: int = Field(100, ge=1, description="Largest number of epochs over the training images and their views")
    patience: int = Field(10, ge=1, description="Epochs without a better validation loss before training stops")
    weight_decay: float = Field(1e-2, ge=0, description="AdamW weight decay")
    batch_size: int = Field(64, ge=1, description="Images per step")
    warm_up: Share = Field(0.0, description="Share of the steps in which the learning rate rises from 0")
    clip_norm: float = Field(0.0, ge=0, description="Gradients are scaled down to this norm; 0: no limit")
    ema: Share = Field(
        0.0, description="Momentum of the moving average of the weights, which is validated in their place; 0: none"
    )


class Head(Training):
    """The new last layers, and how they are trained."""

    kind: str = Field("logistic", description="A name from `headstart heads`")
    options: dict[str, Any] = Field({}, description="Options of the head, e.g. `units`")
    learning_rate: float = Field(1e-3, gt=0, description="AdamW learning rate")


class Tune(Settings):
    """A search for the head's settings on stored features, before the ladder."""

    enabled: bool = Field(False, description="Search for the head's settings on stored features first")
    trials: int = Field(50, ge=1, description="Number of trials; those of an interrupted search count")
    minutes: float = Field(0.0, ge=0, description="Minutes after which no further trial starts; 0: no limit")
    heads: tuple[str, ...] = Field(
        ("linear", "mlp", "cosine"), min_length=1, description="Heads to try; only heads that are trained"
    )
    poolings: tuple[Literal["avg", "avg_max_std", "multi_level"], ...] = Field(
        (), description="Poolings to try; the best one replaces `backbone.pooling`. Empty: only that one"
    )
    views: bool = Field(
        False, description="Also try the original photos without other views; the best choice replaces `images.views`"
    )
    folds: Annotated[int, Field(ge=0)] | Literal["auto"] = Field(
        "auto",
        description="Cross-validation folds of the training and validation images; 0: the validation images alone "
        "validate; `auto`: 5 for fewer than 1,000 images, else 0",
    )
    epochs: int = Field(10, ge=1, description="Largest number of epochs of a trial")
    batch_size: int = Field(256, ge=1, description="Images per step, in the trials and then in `head`")

    @model_validator(mode="after")
    def folds_are_several(self) -> "Tune":
        """One fold is not enough."""
        if self.folds == 1:
            raise ValueError("folds = 1 leaves nothing to train on; use 0, or 2 or more")
        return self

    def turns(self, counts: dict[str, int]) -> int:
        """Folds for a data set with this number of images in each split; 0: none."""
        if self.folds != "auto":
            return self.folds
        return 5 if counts["train"] + counts["validation"] < 1000 else 0


class Loss(Settings):
    """The loss function, in train head and in fine-tune."""

    balance: Literal["none", "weights", "sampling"] = Field(
        "none",
        description="Unequal classes: `weights` gives images of a rare class more weight, `sampling` draws every class "
        "equally often",
    )
    label_smoothing: Share = Field(0.0, description="Share of a label that is spread over all classes")


class Augment(Settings):
    """Random changes of pixels, anew each time a photo is seen. None shall change what a photo's label is."""

    crop: Share = Field(0.0, description="Largest share of a side that is cut away at random; the rest is enlarged")
    turn: float = Field(0.0, ge=0, le=180, description="Largest random turn either way, degrees")
    rand_augment: Share = Field(0.0, description="Strength of two random changes of shape or colour (RandAugment)")
    erase: Share = Field(0.0, description="Probability that a random rectangle is painted over")
    mix_up: float = Field(
        0.0, ge=0, le=10, description="Two photos and their labels are mixed: alpha of the shares' beta distribution"
    )
    cut_mix: float = Field(
        0.0, ge=0, le=10, description="A rectangle of another photo, with its share of the label: alpha, as in `mix_up`"
    )

    @property
    def any(self) -> bool:
        """Whether anything is changed."""
        return any(self.model_dump().values())


class Tuning(Training):
    """Training of the network itself, after the head."""

    patience: int = Field(2, ge=1, description="Epochs without a better validation loss before training stops")
    learning_rate: Annotated[float, Field(gt=0)] | Literal["find"] = Field(
        3e-4, description="AdamW's initial learning rate; it falls along a cosine to 0. `find`: from a trial run"
    )
    layer_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Learning rate of a block divided by that of the block above it; the head has the full rate",
    )
    trials: int = Field(
        0,
        ge=0,
        le=20,
        description="How many other settings are tried before in short trainings on a part of the training images, "
        "each judged on others of them: learning rate, depth, strength of augmentation; 0: none",
    )
    minutes: float = Field(
        0.0,
        ge=0,
        description="Minutes after which training ends with its step, and a third of which trials may take; 0: no "
        "limit",
    )
    strategy: Literal["auto", "mirrored", "none"] = Field(
        "auto",
        description="`auto`: copies of the network on every GPU if there are several; `mirrored`: always; "
        "`none`: never",
    )
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"] = Field(
        "auto", description="Type of the computation; `auto`: mixed on a GPU, float32 elsewhere"
    )
    jitter: Share = Field(
        0.0,
        description="With a live trunk: largest random change of brightness and contrast; views are then random too",
    )
    augment: Augment = Field(
        Augment(),
        description="With a live trunk: further random changes by Keras' layers, a table of `crop`, `turn`, "
        "`rand_augment`, `erase`, `mix_up`, `cut_mix`",
    )

    @property
    def random(self) -> bool:
        """Whether pixels change at random."""
        return self.jitter > 0 or self.augment.any


class FineTune(Tuning):
    """Training of the last blocks after the head."""

    enabled: bool = Field(True, description="Train the last blocks too, starting from the trained head")
    blocks: int = Field(5, ge=1, description="How many of the backbone's last blocks are trained")
    epochs: int = Field(3, ge=1, description="Largest number of epochs over the training images and their views")
    trunk: Literal["cached", "live"] = Field(
        "cached", description="`cached`: the frozen blocks see each view once; `live`: they run in every epoch"
    )

    @model_validator(mode="after")
    def jitters_live(self) -> "FineTune":
        """Cached activations cannot be changed at random."""
        if self.random and self.trunk == "cached":
            raise ValueError('jitter and augment change pixels at random, which needs trunk = "live"')
        return self

    @property
    def brief(self) -> "FineTune":
        """For a network that has been trained so before: a third of the epochs, at half the learning rate."""
        usual = FineTune().learning_rate if self.learning_rate == "find" else self.learning_rate
        assert usual != "find"
        update = {"epochs": max(1, self.epochs // 3), "learning_rate": usual / 2, "trunk": "cached", "jitter": 0.0}
        update |= {"augment": Augment()}
        return self.model_copy(update=update)


class Whole(Tuning):
    """Training of the whole network after the head, from pixels; batch normalisation is unchanged."""

    lora_rank: int = Field(
        0,
        ge=0,
        le=512,
        description="Of a transformer, train only updates of this rank to the queries and values of its attention, and "
        "the head; `layer_decay` does not apply; 0: all weights",
    )

    epochs: int = Field(
        10, ge=1, description="Largest number of epochs over the training images, in a random view each time"
    )
    layer_decay: float = Field(
        0.8,
        gt=0,
        le=1,
        description="Learning rate of a block divided by that of the block above it; the head has the full rate",
    )


#: From the cheapest to the most expensive; the first that no other one is certainly better than is shipped.
Rung = Literal["knn", "probe", "head", "blocks", "whole"]
#: Those that train the network itself.
TUNED = ("blocks", "whole")
#: The tables of their settings.
TABLES = {"blocks": "fine_tune", "whole": "whole"}
#: Parts of the images in cross-fitting.
FOLDS = 5


class Ladder(Settings):
    """Which models are tried, and which of them is shipped; decided on validation images alone."""

    start_at: Literal["knn", "probe", "head"] = Field("probe", description="The first rung")
    stop_at: Rung = Field(
        "blocks",
        description="The last rung: `knn` (nearest neighbours), `probe` (logistic regression), `head` (the recipe's), "
        "`blocks` (the last blocks too), `whole` (every block)",
    )
    interpolate: bool = Field(True, description="Also try weights between the frozen and the fine-tuned ones")
    soup: int = Field(
        0,
        ge=0,
        le=10,
        description="How many further times the last fine-tuned rung is trained, with other seeds and with half and "
        "twice the learning rate, for a mean of the weights of those that help (a greedy soup); 0: none",
    )
    average: tuple[Literal["views", "rungs"], ...] = Field(
        (),
        description="Also try the mean of several predictions: of all `views` of a photo, of two `rungs` (the best on "
        "the frozen network and the best that trained it), or both, and then without a rung that is surely worse; each "
        "prediction takes time",
    )
    seeds: int = Field(
        1,
        ge=1,
        le=10,
        description="How often the best fine-tuned rung is trained for the average, each time with a different seed",
    )
    backbones: tuple[Candidate, ...] = Field(
        (),
        description="Further backbones for the average, trained like the recipe's own: tables of `kind`, `options` and "
        "`weights`",
    )
    distill: bool = Field(
        False,
        description="Also train one network towards the answers of the average",
    )
    unlabelled: Source | None = Field(
        None,
        description="Further photos for `distill`, a table like `source`: their labels, if any, are not read; "
        '`kind = "files"`: photos without folders of classes',
    )
    max_minutes: float = Field(
        0.0,
        ge=0,
        description="Minutes after which no further rung starts, nor one of whose own `minutes` less than half is "
        "left; 0: no limit",
    )
    metric: Literal["log_loss", "accuracy", "balanced_accuracy", "macro_f1", "roc_auc"] = Field(
        "log_loss", description="What rungs are compared by, after temperature scaling"
    )
    folds_below: int = Field(
        1000,
        ge=0,
        description="With fewer training and validation images, heads are compared by cross-fitting on all of them; "
        "0: always on the validation images",
    )
    confidence: float = Field(
        0.95,
        gt=0.5,
        lt=1,
        description="How certain it must be that a cheaper rung is worse before a more expensive one is taken",
    )
    ship: Literal["", Rung, "interpolated", "souped", "distilled", "averaged"] = Field(
        "", description="Ship this rung in any case; empty: the cheapest that no other one is certainly better than"
    )
    refit: bool = Field(False, description="Train the chosen rung again, on the validation images too")
    warm: Literal["beside", "first", "never"] = Field(
        "beside",
        description="In `headstart retrain`, where the champion was fine-tuned: also try a short training that goes on "
        "from it, on the new images and as many old ones, with classes added or removed. `beside`: as one more rung; "
        "`first`: `blocks`, `whole` and weights in between are left out unless it is surely worse than `head`; `never`",
    )

    def turns(self, counts: dict[str, int]) -> int:
        """Folds of cross-fitting for a data set with this number of images in each split; 0: none."""
        return FOLDS if counts["train"] + counts["validation"] < self.folds_below else 0

    @model_validator(mode="after")
    def ships_what_is_not_left_out(self) -> "Ladder":
        """A rung that a warm start may replace cannot be the one to ship."""
        if self.warm == "first" and self.ship in (*TUNED, "interpolated"):
            raise ValueError(f"warm = 'first' may leave out the rung that ship = {self.ship!r} names; use 'beside'")
        return self

    @model_validator(mode="after")
    def goes_up(self) -> "Ladder":
        """The last rung is not below the first."""
        rungs = get_args(Rung)
        if rungs.index(self.stop_at) < rungs.index(self.start_at):
            raise ValueError(f"start_at = {self.start_at!r} is above stop_at = {self.stop_at!r}")
        return self


class HeadTraining(StageSettings):
    """What training of a head on the frozen network reads."""

    rung: str
    backbone: Backbone
    head: Head
    loss: Loss
    views: tuple[View, ...]
    seed: int
    #: Folds of cross-fitting; 0: none.
    folds: int = 0


class NetworkTraining(StageSettings):
    """What training of the network itself reads, and interpolation between it and the frozen one."""

    tuning: FineTune | Whole
    loss: Loss
    extract: Extract
    views: tuple[View, ...]
    seed: int

    @property
    def rung(self) -> str:
        """Name of the rung that is trained so."""
        return "blocks" if isinstance(self.tuning, FineTune) else "whole"

    @property
    def merged(self) -> "NetworkTraining":
        """For a trained network, in whose weights updates of low rank are already."""
        if not isinstance(self.tuning, Whole):
            return self
        return self.model_copy(update={"tuning": self.tuning.model_copy(update={"lora_rank": 0})})


class WarmStart(StageSettings):
    """What training that goes on from the champion reads."""

    #: Name of the registered model.
    model: str
    images: Images
    head: Head
    training: NetworkTraining
    #: Whether the recipe trains on validation images too.
    refit: bool


class ScratchTraining(StageSettings):
    """What training from random weights reads; without a backbone it trains a small network."""

    backbone: Backbone | None
    epochs: int
    loss: Loss
    views: tuple[View, ...]
    seed: int


class HeadSearch(StageSettings):
    """What the search for a head reads."""

    tune: Tune
    backbone: Backbone
    head: Head
    loss: Loss
    views: tuple[View, ...]
    seed: int
