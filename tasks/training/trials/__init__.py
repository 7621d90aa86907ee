"""Short trainings before the full one: for a learning rate, and for what else is open."""
