"""Weight files: where they come from and how to read them without running code in them."""
