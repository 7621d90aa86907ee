"""Settings of promotion and of scoring."""

from pydantic import Field

from tasks.settings.base import Settings, StageSettings
from tasks.settings.data import Images
from tasks.settings.features import Backbone


class Promotion(Settings):
    """How a version becomes the champion, and how it is checked."""

    approval: bool = Field(False, description="A version that passes the gates waits for a person's approval")
    golden: int = Field(8, ge=1, le=64, description="Test images that are kept inside each version, to verify it")
    tolerance: float = Field(
        1e-3,
        gt=0,
        lt=1,
        description="Largest difference of a golden image's probability from the one in evaluate, on any machine",
    )


class Scoring(Settings):
    """How a version predicts many images; the predictions change only by rounding."""

    engine: str = Field("auto", description="`auto`, or a name from `headstart engines`")
    batch_size: int = Field(32, ge=1, description="Images per step")


class Release(StageSettings):
    """What registration reads: the model's name, how it prepares images, the backbones in it, and who approves it."""

    name: str
    images: Images
    backbones: tuple[Backbone, ...]
    promotion: Promotion
    #: What the version remembers of the search for its features; empty without one.
    search: str = ""
    #: Whether the model was trained on the validation images too.
    refit: bool = False
