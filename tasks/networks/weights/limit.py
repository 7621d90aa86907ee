"""How large a network may be that a file describes: as large as the arrays that the file holds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any
from unittest import mock

#: Numbers that a network may have beyond the file's: those that loading makes for itself, as for another image size.
MORE = 2**24


@contextmanager
def at_most(numbers: int) -> Iterator[None]:
    """Inside, Keras makes variables of at most so many numbers in all, and `MORE`.

    A configuration of a few bytes describes a network of any size, and Keras builds it before it reads an array. Raises
    `ValueError` before a variable is made that is too many.
    """
    import keras

    make: Any = keras.Variable.__init__
    asked, own = 0, get_ident()

    def counted(self: Any, initializer: Any, shape: Any = None, *rest: Any, **options: Any) -> None:
        nonlocal asked
        if get_ident() == own:
            asked += math.prod(shape) if isinstance(shape, tuple | list) and None not in shape else 1
            if asked > numbers + MORE:
                raise ValueError
        make(self, initializer, shape, *rest, **options)

    try:
        with mock.patch.object(keras.Variable, "__init__", counted):
            yield
    finally:
        # Keras tells an error in a page of its own.
        if asked > numbers + MORE:
            raise ValueError(f"its configuration asks for {asked} weights or more, its arrays have {numbers}") from None
