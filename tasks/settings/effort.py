"""How much time a run may take, and what it is spent on."""

from dataclasses import dataclass, field
from typing import Any, Literal

from tasks.settings.base import StageSettings
from tasks.settings.data import Images, View
from tasks.settings.features import Backbone, Candidate, Extract

Effort = Literal["none", "quick", "standard", "best"]


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
    #: Shares of the time for the search, for all features, and for fine-tuning.
    search: float = 0.25
    features: float = 0.25
    tuning: float = 0.25
    #: Share after which no further rung is begun.
    climb: float = 0.75


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
        views=("flip_left_right",),
        fits=("squash",),
        joined=1,
        ladder={"start_at": "head", "confidence": 0.75, "interpolate": False, "folds_below": 0},
        fine_tune={"batch_size": 32},
        search=0.2,
        features=0.2,
        tuning=0.18,
        climb=0.65,
    ),
    "best": Budget(
        20,
        sample=1000,
        size=448,
        views=("flip_left_right", "flip_up_down", "rotate_180"),
        fits=("squash", "pad"),
        joined=4,
        ladder={"start_at": "head", "confidence": 0.55, "average": ("views", "rungs")},
        fine_tune={"batch_size": 32, "epochs": 6},
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
    networks: tuple[Candidate, ...]
    sample: int
    size: int
    views: tuple[View, ...]
    fits: tuple[str, ...]
    joined: int
    #: Seconds for the search itself, and for the features of all images.
    seconds: float
    features: float
