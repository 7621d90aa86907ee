"""Records of the search for features: what was tried, what it gained, what was chosen."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from tasks.records.base import Gain, Record, digest

#: What a version remembers of a search.
KEPT = ("asked", "of", "classes", "chosen", "features_seconds")


@dataclass(frozen=True)
class Trial:
    """One way to see the photos, or to train on them, judged on images that it was not trained on."""

    name: str
    #: What it changes: size, fit, network, pooling, beside, views; learning rate, depth, augmentation.
    what: str
    #: Mean log loss, nats, and share of right answers, on held-out images of the sample.
    log_loss: float = 0.0
    accuracy: float = 0.0
    #: How much lower its log loss is than that of the best one before; None for the first.
    gain: Gain | None = None
    #: Whether it became the best one.
    taken: bool = False
    images_per_second: float = 0.0
    #: Time that it took.
    seconds: float = 0.0
    #: Why it was not tried, or not taken though it is better; empty otherwise.
    reason: str = ""
    #: Whether more time might have let it be taken.
    late: bool = False
    #: The gain that it had to exceed, nats; None where nothing was compared.
    needed: float | None = None


@dataclass(frozen=True)
class RaceRef(Record):
    """Short trainings of a rung with several settings, and those of the best."""

    digest: str
    rung: str
    trials: tuple[Trial, ...]
    #: What differs from the settings that were given.
    chosen: dict[str, Any]
    #: Training images that were trained on, and that were judged.
    images: int
    judged: int

    @property
    @override
    def numbers(self) -> dict[str, float]:
        tried = [trial.log_loss for trial in self.trials if trial.log_loss]
        return {"trials": float(len(tried))} | ({"log_loss": min(tried)} if tried else {})


@dataclass(frozen=True)
class SearchRef(Record):
    """A search for features, and the settings that it chose: by table, as in a recipe."""

    digest: str
    trials: tuple[Trial, ...]
    chosen: dict[str, dict[str, Any]]
    #: Training images that were looked at; 0: the choice follows rules.
    images: int
    #: What the search took, and what the features of all images will probably take.
    seconds: float
    features_seconds: float
    #: Why it ended.
    reason: str
    #: Digest of what was asked for, and number of images: whether the choices still hold.
    asked: str = ""
    of: int = 0
    #: The classes of the images.
    classes: tuple[str, ...] = ()

    @property
    @override
    def numbers(self) -> dict[str, float]:
        tried = [trial for trial in self.trials if trial.log_loss]
        best = {"log_loss": min(trial.log_loss for trial in tried)} if tried else {}
        return best | {"trials": float(len(tried)), "trial_seconds": self.seconds}

    @property
    def memory(self) -> str:
        """What a version remembers of it, JSON."""
        return json.dumps({name: getattr(self, name) for name in KEPT})

    @classmethod
    def remembered(cls, memory: str, version: str) -> "SearchRef":
        """The choices that a version remembers. Raises `ValueError` for other text."""
        try:
            kept = json.loads(memory)
            asked, of, chosen = str(kept["asked"]), int(kept["of"]), dict(kept["chosen"])
            takes, classes = float(kept["features_seconds"]), tuple(map(str, kept["classes"]))
        except (TypeError, KeyError) as error:
            raise ValueError("expected the choices of a search") from error
        reason = f"repeats version {version}"
        return cls(digest("remembered", memory), (), chosen, 0, 0.0, takes, reason, asked, of, classes)

    def summary(self) -> dict[str, Any]:
        """What `headstart train --json` prints of it."""
        return dataclasses.asdict(self)
