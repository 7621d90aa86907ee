"""Settings of `headstart retrain`."""

from pydantic import Field

from tasks.settings.base import Settings


class Retrain(Settings):
    """When `headstart retrain` trains again."""

    min_new: int = Field(50, ge=1, description="With fewer new or relabelled images nothing is trained")
    significance: float = Field(
        0.05,
        gt=0,
        lt=0.5,
        description="Probability that unchanged data count as a reason to train in any of all checks since the newest "
        "version: as drift, as a weaker champion, or as a gain of the probe",
    )
    force_after: int = Field(
        0, ge=0, description="Checks without training after which anything new is trained on; 0: never"
    )
    settle: float = Field(30.0, gt=0, description="Seconds without a change after which new files count as complete")
