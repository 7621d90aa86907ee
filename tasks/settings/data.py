"""Settings of the data: source, split, validation, preparation, audit."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from tasks.runtime.errors import UsageError
from tasks.runtime.store import remote
from tasks.settings.base import Settings, Share

#: The configuration of a project of Great Expectations.
PROJECT = "great_expectations.yml"
View = Literal[
    "identity",
    "flip_left_right",
    "flip_up_down",
    "rotate_180",
    "rotate_90",
    "rotate_270",
    "crop_centre",
    "crop_top_left",
    "crop_top_right",
    "crop_bottom_left",
    "crop_bottom_right",
]


class Source(Settings):
    """Where photos and labels come from."""

    kind: str = Field("folder", description="Where the photos are: a name from `headstart sources`")
    options: dict[str, Any] = Field({}, description="Options of the source, e.g. `path`")
    licence: str = Field("", description="Licence of the photos, for the model card")

    @model_validator(mode="after")
    def holds_no_secret(self) -> "Source":
        """Options are logged: an address among them has no password and no query."""
        for name, value in self.options.items():
            if remote.scheme(str(value)) in remote.SCHEMES and (found := remote.problem(str(value))):
                # pydantic's own errors show the value.
                raise UsageError(f"source.options.{name}: expected a path or an address, found {found}.")
        return self


class Labels(Settings):
    """How labels are read."""

    normalise: bool = Field(
        False, description="Join labels that look the same: other Unicode forms, case, blanks, invisible characters"
    )


class Split(Settings):
    """How the images are split."""

    test: Share = Field(0.2, description="Share of the images that only the evaluation uses")
    validation: Share = Field(0.15, description="Share of the images that training is validated on")
    salt: str = Field("headstart", description="A different salt gives a different split")
    rare: Literal["aside", "train", "stop"] = Field(
        "aside",
        description="Classes with too few images or groups for all splits: set aside, only trained on, or stop",
    )
    by_time: str = Field("", description="Column of the source with dates: the newest images are test images")
    older: Share = Field(
        0.1,
        description="With `by_time`: share of the training and validation images, drawn at random, that only the "
        "evaluation uses, to tell what time changes; 0: none, so all are trained on",
    )

    @model_validator(mode="after")
    def leaves_training_data(self) -> "Split":
        """All three splits get images."""
        if self.test + self.validation >= 1 or not self.test or not self.validation:
            raise ValueError("test and validation must each be above 0 and leave some images to train on")
        return self


class Validation(Settings):
    """Requirements on the data."""

    suites: tuple[str, ...] = Field(
        ("images", "history"), description="Expectation suites, files of `tasks/data/expectations`"
    )
    own: str = Field(
        "",
        description="Folder, beside the recipe, of your own suites: JSON files of Great Expectations' `expectations/`",
    )
    context: str = Field(
        "",
        description="Folder, beside the recipe, of a Great Expectations project: its suites run, and its checkpoints' "
        "actions. Its own code runs too: only a project that you trust",
    )
    context_suites: tuple[str, ...] = Field((), description="Suites of `context` that run; empty: all")
    max_rejected: Share = Field(
        0.01, description="Share of files that may be set aside before the run stops; one always may, unless it is 0"
    )
    classes: tuple[str, ...] = Field((), description="The labels that may occur; empty: any")
    copies: Literal["drop", "stop"] = Field(
        "drop", description="Copies of an image in two splits that the source gives: use only the test image, or stop"
    )
    min_images: int = Field(1, ge=1, description="Images that each class needs in each split")
    min_side: int = Field(8, ge=1, description="Smallest width and height, pixels")
    max_side: int = Field(20_000, ge=1, description="Largest width and height, pixels")
    max_aspect: float = Field(10.0, ge=1, description="Longer side over shorter side; more is a warning")
    min_balance: Share = Field(0.1, description="Smallest class over largest class; less is a warning")

    @property
    def project(self) -> Path | None:
        """The folder with the project's configuration: `context` or `gx/` in it; None if there is none."""
        places = (Path(self.context, "gx"), Path(self.context)) if self.context else ()
        return next((place for place in places if (place / PROJECT).is_file()), None)


class Images(Settings):
    """How photos become network input."""

    size: int = Field(224, ge=32, le=2048, description="Side of the prepared square, pixels")
    fit: Literal["squash", "crop", "pad"] = Field(
        "crop", description="How a photo becomes square: `crop` to its middle, `squash`, or `pad` with black"
    )
    max_pixels: int = Field(100_000_000, ge=1, description="Photos with more pixels are rejected without reading them")
    views: tuple[View, ...] = Field(
        ("identity", "flip_left_right"), min_length=1, description="Augmented copies of each image that training sees"
    )
    keep: bool = Field(True, description="Store prepared images; else they are decoded whenever they are needed")


class Audit(Settings):
    """The search for problems in the data that would bias the evaluation; it changes nothing."""

    enabled: bool = Field(True, description="Look for copies across splits, wrong labels and shortcuts in every run")
    similarity: float = Field(
        0.95,
        gt=0.5,
        lt=1,
        description="Smallest correlation of the fine structure of near-duplicates",
    )
    images: int = Field(20_000, ge=2, description="Largest number of images that are searched for near-duplicates")
    shortcut_margin: Share = Field(
        0.1,
        description="Balanced accuracy above chance that brightness, size or format must significantly exceed to be "
        "flagged",
    )
