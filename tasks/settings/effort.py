"""How much time a run may take, and what it is spent on."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from tasks.settings.base import Settings, StageSettings
from tasks.settings.data import Images, View
from tasks.settings.features import Backbone, Extract, Sized
from tasks.settings.models import Ladder, Rung

Effort = Literal["none", "quick", "standard", "best"]

#: What a run does after its last rung, seconds: it calibrates, evaluates, registers and draws. Each further network
#: that is joined with the first is loaded and compiled for each of these. An average of rungs takes as long again.
END, EACH = 30.0, 15.0
#: Calibration and evaluation see photos again, on a slower engine: their time over that of all features.
AGAIN = 1.0
#: Where a rung is trained again: the share of its training that the first one keeps, and how long the second one takes.
ONCE, LONGER = 0.6, 1.25
#: The side of photos, pixels, that numbers of photos are for.
USUAL = 224
#: The most harmless first.
EVERY_VIEW: tuple[View, ...] = ("flip_left_right", "flip_up_down", "rotate_180", "rotate_90", "rotate_270")


@dataclass(frozen=True)
class Budget:
    """What an effort buys. Only what a recipe leaves open is decided by it."""

    minutes: float
    #: Training images that the search looks at; 0: no search, only rules.
    sample: int
    #: Largest side of the photos to try, pixels.
    size: int
    #: Views to try.
    views: tuple[View, ...]
    #: Ways to make photos square that are tried where they are not.
    fits: tuple[Literal["squash", "crop", "pad"], ...]
    #: How many networks may be joined with the first one.
    joined: int
    #: Settings of these tables.
    ladder: dict[str, Any]
    fine_tune: dict[str, Any]
    transfer_check: dict[str, Any] = field(default_factory=dict)
    #: Photos of the usual side that fine-tuning sees in all its epochs together, and most epochs.
    photos: int = 0
    epochs: int = 12
    #: Shares of the time for the search, for all features, and for fine-tuning.
    search: float = 0.25
    features: float = 0.25
    tuning: float = 0.35
    #: Largest share of the time for the answers of an average over views: every photo is seen in each of them.
    averages: float = 0.15
    #: Share of the time that is kept for the chosen rung to be trained again.
    again: float = 0.0

    @property
    def twice(self) -> "Budget":
        """Less training, as the chosen rung is trained again, on the validation images too."""
        tuning = ONCE * self.tuning
        return replace(self, photos=round(ONCE * self.photos), tuning=tuning, again=LONGER * tuning)

    def epochs_of(self, rows: int, size: int) -> int:
        """Epochs of fine-tuning on a number of rows, photos in their views, of this side.

        They follow from numbers, not from a clock: the same recipe has the same epochs on every machine.
        """
        return min(max(round(_passes(self.photos, rows, size)), 1), self.epochs)

    def average(self, features: float, views: int) -> dict[str, Any]:
        """What of `ladder.average` fits the time; `features`: seconds for those of all images, without views."""
        asked = self.ladder.get("average", ())
        if "views" not in asked or AGAIN * features * views <= 60 * self.minutes * self.averages:
            return {}
        return {"average": tuple(part for part in asked if part != "views")}

    def climb(self, features: float, views: int, beside: int) -> float:
        """Minutes when all rungs shall be there.

        `features`: as above. `views`: how many the model may answer. `beside`: how many networks are joined with the
        first.
        """
        end = (END + EACH * beside) * (2 if "average" in self.ladder else 1) + AGAIN * features * views
        return max(self.minutes * (1 - self.again) - end / 60, self.minutes / 2)


def unset(given: Settings, values: dict[str, Any]) -> dict[str, Any]:
    """The values of settings that are not given."""
    return {name: value for name, value in values.items() if name not in given.model_fields_set}


def ladder_of(allowed: Budget, given: Ladder) -> dict[str, Any]:
    """What an effort buys of a ladder, but for what would leave out the rung that the recipe stops at or ships."""
    found, order = unset(given, allowed.ladder), get_args(Rung)
    ends = {given.ship, given.stop_at if "stop_at" in given.model_fields_set else ""}
    named = [rung for rung in order if rung in ends]
    if any(order.index(rung) < order.index(found.get("start_at", order[0])) for rung in named):
        del found["start_at"]
    if given.ship == "interpolated":
        found.pop("interpolate", None)
    return found


BUDGETS: dict[str, Budget] = {
    "quick": Budget(
        1,
        sample=0,
        size=224,
        views=(),
        fits=(),
        joined=0,
        ladder={"start_at": "head", "stop_at": "head", "folds_below": 0},
        fine_tune={"enabled": False},
        transfer_check={"enabled": False},
    ),
    "standard": Budget(
        4,
        sample=400,
        size=320,
        views=EVERY_VIEW,
        fits=("squash",),
        joined=1,
        ladder={"start_at": "head", "confidence": 0.75, "interpolate": False, "folds_below": 0},
        fine_tune={"batch_size": 32, "learning_rate": 5e-4},
        transfer_check={"images": 200},  # more would take up to 11 % of the time
        photos=9500,
        search=0.26,
        features=0.18,
        tuning=0.28,
    ),
    "best": Budget(
        20,
        sample=1000,
        size=448,
        views=(*EVERY_VIEW, "crop_centre"),
        fits=("squash", "pad"),
        joined=4,
        ladder={
            "start_at": "head",
            "confidence": 0.55,
            "average": ("views", "rungs"),
            "interpolate": False,
            "folds_below": 0,  # there is one head, and nothing to compare it with but what is fine-tuned
        },
        fine_tune={"batch_size": 32, "learning_rate": 5e-4, "blocks": 8, "patience": 4},
        photos=40_000,
        epochs=24,
        averages=0.22,  # in four views, ELPV's photos take 0.20
    ),
}


def budget(effort: Effort, minutes: float) -> Budget:
    """What an effort buys, or a number of minutes: then as much as fits."""
    if not minutes:
        return BUDGETS[effort]
    known = effort if effort != "none" else "quick" if minutes < 2 else "standard" if minutes < 10 else "best"
    return Budget(**{**vars(BUDGETS[known]), "minutes": minutes})


class FeatureSearch(StageSettings):
    """What the search for features reads. `open` names what it may choose."""

    backbone: Backbone
    images: Images
    extract: Extract
    backend: str
    seed: int
    #: Of size, fit, network, pooling, beside, views.
    open: tuple[str, ...]
    #: Photos of the usual side that fine-tuning sees in all its epochs together; 0: there is none.
    photos: int
    networks: tuple[Sized, ...]
    sample: int
    size: int
    views: tuple[View, ...]
    fits: tuple[str, ...]
    joined: int
    #: Seconds for the search itself, and for the features of all images.
    seconds: float
    features: float

    def passes(self, images: int, size: int) -> float:
        """How often fine-tuning sees each of so many photos of this side, in any view."""
        return _passes(self.photos, images, size)


def _passes(photos: int, rows: int, size: int) -> float:
    """How often each of so many rows of this side is seen, in the time of a number of photos of the usual side."""
    return photos * (USUAL / size) ** 2 / max(rows, 1)
