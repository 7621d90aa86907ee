"""From a decision to a registered version, its report and its answers."""
