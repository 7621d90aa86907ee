"""What talks to Prefect and MLflow."""
