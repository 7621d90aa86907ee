"""Settings of the pretrained network and of its features."""

from typing import Any, Literal

from pydantic import Field, model_validator

from tasks.settings.base import Settings, Share, StageSettings
from tasks.settings.data import View

Pooling = Literal["avg", "avg_max_std", "multi_level", "pyramid", "texture", "none"]


class Candidate(Settings):
    """A pretrained network."""

    kind: str = Field(
        "efficientnet_lite",
        description="A name from `headstart backbones`, or `auto`: the one of `select.candidates` that ranks first",
    )
    options: dict[str, Any] = Field({}, description="Options of the backbone, e.g. `variant`")
    weights: str = Field(
        "auto",
        description="`packaged`, `imagenet` or `random`, if the backbone has them; or a file: a path or "
        "`package:NAME/FILE`, with an optional `#sha256=…`; `auto`: the backbone's default",
    )

    @property
    def network(self) -> dict[str, Any]:
        """Kind, options and weights alone, whatever else the settings hold."""
        return self.model_dump(include=set(Candidate.model_fields))


class Sized(Candidate):
    """A candidate for `backbone.kind = "auto"`, and the side of the images that it sees."""

    size: int = Field(
        0,
        ge=0,
        le=2048,
        description="Side of its images, pixels; 0: `images.size` where the recipe gives it, else its own",
    )


class Beside(Candidate):
    """A further network, whose features are joined with the backbone's."""

    size: int = Field(0, ge=0, le=2048, description="Side of its images, pixels; 0: `images.size`")


class Backbone(Candidate):
    """The pretrained network, and how its features are made."""

    pooling: Pooling = Field(
        "pyramid",
        description="How the feature map becomes features: `avg`, `avg_max_std`, `multi_level` (at several depths), "
        "`pyramid` (there also small and local things), `texture` (that, and oriented filters on the photo itself) or "
        "`none` (the map itself)",
    )

    beside: tuple[Beside, ...] = Field(
        (),
        max_length=4,
        description="Further networks whose features are joined with the backbone's: tables of `kind`, `options`, "
        "`weights` and `size`. Only the backbone itself is fine-tuned",
    )

    @model_validator(mode="after")
    def joins_vectors(self) -> "Backbone":
        """A feature map cannot be joined with another of a different size."""
        if self.beside and (self.pooling == "none" or "auto" in (each.kind for each in self.beside)):
            raise ValueError("beside needs networks by their names, and another pooling than 'none'")
        return self

    @model_validator(mode="after")
    def is_named_or_open(self) -> "Backbone":
        """`auto` takes no options or weights here."""
        if self.kind == "auto" and (self.options or self.weights != "auto"):
            raise ValueError("kind = 'auto' takes options and weights from select.candidates, not from here")
        return self


class Select(Settings):
    """Which backbone, if `backbone.kind` is `auto`: candidates are ranked before any training."""

    candidates: tuple[Sized, ...] = Field(
        (),
        description="Tables of `kind`, `options`, `weights` and `size`, the side of its images (0: `images.size` where "
        "the recipe gives it, else the one that the network was trained on); empty: all whose weights are on this "
        "machine",
    )
    sample: int = Field(500, ge=10, le=10_000, description="Training images for the ranking")


class Extract(Settings):
    """How the frozen network is run; the features change only by rounding."""

    engine: str = Field("auto", description="`auto`, or a name from `headstart engines`")
    batch_size: int = Field(32, ge=1, description="Images per step")
    dtype: Literal["float16", "float32"] = Field("float32", description="Type in which features are stored")
    runner: Literal["local", "dask"] = Field("local", description="Where extraction runs: in this process, or on Dask")
    shards: int = Field(8, ge=1, description="With Dask: tasks that the images are split into")
    workers: int = Field(2, ge=1, description="With Dask and no address: processes of a cluster on this machine")
    address: str = Field("", description="With Dask: address of a scheduler, such as tcp://host:8786")


class TransferCheck(Settings):
    """Are the pretrained weights better than random ones here?"""

    enabled: bool = Field(True, description="Compare the pretrained weights with random ones in every run")
    images: int = Field(
        400, ge=1, description="Largest number of training images, and of validation images, that the check uses"
    )
    margin: Share = Field(
        0.02,
        description="Smallest gain in accuracy that matters, 0 to 1: `do not help` is said where one is excluded",
    )


class Extraction(StageSettings):
    """What extraction reads: the network, how it is run, and the views of each image."""

    backbone: Backbone
    extract: Extract
    views: tuple[View, ...]
    backend: str
    #: Validation images will be trained on too, so they need every view.
    refit: bool

    @classmethod
    def plain(cls, network: Candidate, pooling: Pooling, extract: Extract, backend: str) -> "Extraction":
        """From the unchanged photos."""
        backbone = Backbone(**network.network, pooling=pooling)
        return cls(backbone=backbone, extract=extract, views=("identity",), backend=backend, refit=False)
