"""What a Prefect server runs for Headstart: deployments, the servers themselves, alerts."""
