"""Runs on the photos of the fixture `colours`: their recipes, and their stages in MLflow."""

import helpers

from tasks import settings
from tasks.services import tracking

#: A head that learns next to nothing, and nothing else.
LAZY = {
    "head": settings.Head(kind="linear", epochs=1, learning_rate=1e-9),
    "ladder": settings.Ladder(start_at="head", stop_at="head"),
}
FOLDS = ("ladder.folds_below=1000",)
#: Enough test images for a decision.
TESTED = ("split.test=0.35",)
#: What a flow leaves out that asks about something else.
BRIEF = ("audit.enabled=false", "transfer_check.enabled=false")


def recipe_of(folder, tmp_path, name="colours", extra="[validation]\nmax_rejected = 0.1"):
    (tmp_path / "r.toml").write_text(helpers.recipe(folder, name, extra))
    # The run that most tests look at has everything.
    return settings.load(tmp_path / "r.toml", (*TESTED, *FOLDS) if name == "colours" else TESTED)


def stages_of(outcome):
    """The MLflow runs of a training run's stages."""
    client = tracking.client()
    experiment = client.get_run(outcome.run_id).info.experiment_id
    return client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{outcome.run_id}'")
