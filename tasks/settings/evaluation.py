"""Settings of calibration, slices and decisions."""

from typing import Any, Literal

from pydantic import Field

from tasks.settings.base import Settings


class Slices(Settings):
    """Slices of the test images that are scored separately; they decide nothing."""

    columns: tuple[str, ...] = Field(
        (), description="Columns of the source to slice by; empty: all that have at most 20 values"
    )
    derived: tuple[Literal["brightness", "size", "sharpness"], ...] = Field(
        ("brightness", "size", "sharpness"),
        description="Properties of the photos to slice by, in quartiles of the training images (`size`: pixels)",
    )
    metric: Literal["accuracy", "log_loss"] = Field("accuracy", description="Metric of the gaps between slices")
    min_images: int = Field(30, ge=2, description="Test images that a slice, and also the rest, needs to be judged")


class Calibration(Settings):
    """Calibration of every version, from the validation images."""

    coverage: float = Field(
        0.9,
        gt=0.5,
        lt=1,
        description="Probability that a prediction set contains the label, whichever class it is",
    )
    precision: float = Field(
        0.95, gt=0.5, lt=1, description="Smallest share of correct answers among those without abstention"
    )
    false_alarms: float = Field(
        0.05, gt=0, lt=0.5, description="Largest share of images like the training images that are called novel"
    )
    neighbours: int = Field(5, ge=1, le=50, description="k: novelty is the distance to the k-th nearest training image")
    reference: int = Field(
        512, ge=1, le=5000, description="Largest number of training images whose features a version keeps"
    )


class Decision(Settings):
    """How certain a decision between two models has to be."""

    significance: float = Field(
        0.05,
        gt=0,
        lt=0.5,
        description="Largest probability that any decision on the same test images sees a difference that does not "
        "exist; the first decision uses half of it, the next ones less and less",
    )
    power: float = Field(
        0.8, gt=0, lt=1, description="Probability that as many images as `undecided` asks for show today's difference"
    )


class Evaluation(Settings):
    """What the evaluate stage reads."""

    slices: Slices
    seed: int
    #: Column of dates that the images were split by; "" if by none.
    by_time: str = ""


class Gates(Settings):
    """What the gate stage reads: the registered model, the conditions, and how they are judged."""

    model: str
    gates: dict[str, dict[str, Any]]
    decision: Decision
    slices: Slices
    seed: int
