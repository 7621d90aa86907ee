"""Settings of the learning curves of `headstart compare`."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from tasks.settings.base import Settings, Share

Method = Literal["frozen", "small_cnn", "fine_tuned", "scratch"]


class Compare(Settings):
    """The learning curves of `headstart compare`."""

    methods: tuple[Method, ...] = Field(
        get_args(Method),
        min_length=1,
        description="In this order: `frozen` (the head on stored features), `small_cnn` (a separate small "
        "network), `fine_tuned` (the last blocks too), `scratch` (the same architecture from random weights)",
    )
    shares: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        (0.05, 0.1, 0.25, 0.5, 1.0), description="Shares of the training images to learn from"
    )
    per_class: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="Numbers of training images per class to learn from, in addition"
    )
    seeds: int = Field(
        5,
        ge=1,
        description="How often each point is trained, each time on different images; with fewer than five, a "
        "verdict is seldom certain",
    )
    margin: Share = Field(
        0.02,
        description="Smallest gain in accuracy that matters, 0 to 1: `does not help` is said where one is excluded",
    )
    epochs: int = Field(15, ge=1, description="Epochs of training from random weights")
    scratch_size: int = Field(
        0, ge=0, le=2048, description="Side of the images that `scratch` sees, pixels; 0: `images.size`"
    )
    small_size: int = Field(64, ge=32, le=2048, description="Side of the images that `small_cnn` sees, pixels")
    max_minutes: float = Field(
        30.0,
        ge=0,
        description="Minutes after which no further point starts; the same command then continues. 0: no limit",
    )
