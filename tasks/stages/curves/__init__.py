"""Learning curves: transfer against training from scratch."""
