"""What a Prefect server runs of Headstart: deployments, the servers themselves, alerts."""
