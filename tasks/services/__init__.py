"""Everything that talks to Prefect and MLflow."""
