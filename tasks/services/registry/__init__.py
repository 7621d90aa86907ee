"""MLflow's model registry: versions, promotion, verification."""
