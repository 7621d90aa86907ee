"""Networks put together, cut, frozen and fitted."""
