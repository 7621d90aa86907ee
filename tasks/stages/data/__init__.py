"""From a source to checked, prepared images."""
