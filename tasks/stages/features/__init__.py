"""From prepared images to the features of a frozen backbone."""
