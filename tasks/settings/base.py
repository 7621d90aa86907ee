"""What all settings share."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, lt=1)]


class Settings(BaseModel):
    """What all settings share: frozen, and no key that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid")
