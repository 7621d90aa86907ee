"""Settings of `headstart retrain`."""

from pydantic import Field

from tasks.settings.base import Settings


class Retrain(Settings):
    """When `headstart retrain` trains again."""

    min_new: int = Field(50, ge=1, description="New or relabelled images below which nothing is trained")
    significance: float = Field(
        0.05,
        gt=0,
        lt=0.5,
        description="Probability that images like the others are taken for a reason to train: for drift, for a weaker "
        "champion, or for a gain of the probe",
    )
    force_after: int = Field(
        0, ge=0, description="Train whatever is new after so many looks without training; 0: never"
    )
    settle: float = Field(30.0, gt=0, description="Seconds without a change after which new files count as complete")
