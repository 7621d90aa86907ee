"""From features to a trained model."""
