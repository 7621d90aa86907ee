"""Networks trained on a large data set, without their last layers.

A backbone has `build(size, weights, *, options…) -> Backbone` and `choices() -> list[Choice]`. Two functions
describe the weights, without building: `weights_digest(weights, options) -> str`, `licence(weights, options) -> str`.
The model maps float pixels 0 to 255, [n, size, size, 3], to a feature map [n, h, w, c], preprocessing included.

If the choices need a download, `smallest() -> list[Choice]` gives the contract test others that do not.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tasks.networks import names
from tasks.networks.cutting import Backbone
from tasks.records import digest
from tasks.runtime import plugins
from tasks.runtime.errors import HeadstartError, UsageError
from tasks.settings import Candidate, Sized

if TYPE_CHECKING:
    from tasks.settings import Backbone as Settings
    from tasks.settings import Beside


@dataclass(frozen=True)
class Choice:
    """One network that a plugin offers, for `headstart backbones`."""

    options: dict[str, Any]
    #: Parameters up to the feature map, moving statistics included; 0 if it can be any network.
    parameters: int
    #: Side of the images that it was trained on, pixels; 0 if it can be any.
    size: int
    #: Where its weights are, or what is missing.
    weights: str
    #: Smallest side that it takes, pixels.
    at_least: int = 32
    #: Whether its weights are installed with this package: then it is an error if they are missing.
    packaged: bool = False

    @property
    def here(self) -> bool:
        """Whether its weights are on this machine."""
        return self.packaged or self.weights.startswith("here")


def packaged() -> tuple[Sized, ...]:
    """Every network whose weights are installed with this package, as a candidate."""
    return tuple(candidate for candidate, choice in _offered() if choice.packaged)


def here() -> tuple[Sized, ...]:
    """Every named network whose weights are on this machine, as a candidate."""
    return tuple(candidate for candidate, choice in _offered() if choice.here)


def own_side(settings: Candidate) -> int:
    """Side of the images that a named network was trained on, pixels; 0 if that is not known."""

    def bound(each: Candidate) -> dict[str, Any]:
        return plugins.bind("backbones", each.kind, each.options, "backbone.options")

    named = bound(settings)
    return next((choice.size for candidate, choice in _offered(settings.kind) if bound(candidate) == named), 0)


def _offered(*kinds: str) -> Iterator[tuple[Sized, Choice]]:
    for kind in kinds or plugins.names("backbones"):
        for choice in plugins.load("backbones", kind).choices():
            yield Sized(kind=kind, options=choice.options), choice


def label(settings: Candidate) -> str:
    """Kind, options with their defaults, and weights, in characters that MLflow allows in a metric's name."""
    options = plugins.bind("backbones", settings.kind, settings.options, "backbone.options")
    words = [settings.kind, *(str(value) for value in options.values() if value), _named(settings).partition("#")[0]]
    for each in beside(settings):
        words += ["with", label(each), *([str(each.size)] if each.size else [])]
    return re.sub(r"[^\w .-]", "_", " ".join(words))[:200]


def weights(settings: Candidate) -> str:
    """Digest of the weights that a recipe names; equal digests give equal features. Builds nothing."""
    own = plugins.load("backbones", settings.kind).weights_digest(_named(settings), settings.options)
    others = [(weights(each), each.kind, each.options, each.size) for each in beside(settings)]
    return digest("joined", own, *others) if others else own


def weights_or_why(settings: Candidate) -> str:
    """As `weights`, or why there are none: what a choice among candidates depends on."""
    try:
        return weights(settings)
    except HeadstartError as error:
        return str(error)


def licence(settings: Candidate) -> str:
    """Licence of the weights that a recipe names, or where it is stated."""
    own = plugins.load("backbones", settings.kind).licence(_named(settings), settings.options)
    return "; ".join(dict.fromkeys((own, *map(licence, beside(settings)))))


def load(settings: Candidate, size: int) -> Backbone:
    """The backbone that a recipe names, for square images of `size` pixels, with its weights, and those beside it."""
    options = plugins.bind("backbones", settings.kind, settings.options, "backbone.options")
    own = plugins.entry("backbones", settings.kind)(size, _named(settings), **options)
    names.reserve(operation.name for operation in own.model.operations)
    others = tuple(load(each, each.size or size) for each in beside(settings))
    return replace(own, beside=others) if others else own


def beside(settings: Candidate) -> tuple[Beside, ...]:
    """The further networks of a backbone's settings."""
    return getattr(settings, "beside", ())


def randomised(settings: Settings) -> Settings | None:
    """The same network with random weights; None if it exists only as a file."""
    other = settings.model_copy(update={"weights": "random", "beside": ()})
    try:
        weights(other)
    except HeadstartError:
        return None
    return other


def _named(settings: Candidate) -> str:
    """The weights that a recipe names; the plugin's own default for `auto`."""
    if settings.weights != "auto":
        return settings.weights
    default = inspect.signature(plugins.entry("backbones", settings.kind)).parameters["weights"].default
    if default is inspect.Parameter.empty:
        raise UsageError(f"backbone.weights: expected the path of a file for backbone {settings.kind}, found auto.")
    return default
