"""What all settings share."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, lt=1)]


class Settings(BaseModel):
    """What all settings share: frozen, and no key that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StageSettings(Settings):
    """What one stage reads of a recipe: the stage's cache key holds this and no more."""
