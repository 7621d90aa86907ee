"""What a run asks MLflow for."""

from tasks.services.tracking.client import client, experiment_id


def test_an_experiment_that_was_deleted_in_mlflow_is_restored(home):
    made = experiment_id("deleted by hand")
    client().delete_experiment(made)
    assert experiment_id("deleted by hand") == made
    assert client().get_experiment(made).lifecycle_stage == "active"
