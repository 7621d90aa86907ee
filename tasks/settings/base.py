"""What all settings share."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, lt=1)]


class Settings(BaseModel):
    """What all settings share: they are frozen and refuse unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StageSettings(Settings):
    """What one stage reads of a recipe; its cache key contains nothing else of the recipe."""
