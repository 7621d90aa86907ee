"""MLflow for runs."""

from tasks.services.tracking.runs import *  # noqa: F403
