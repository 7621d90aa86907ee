"""From a model to its scores and a decision."""
