"""Messages to a server about work that goes on, which the work does not wait for."""

import logging
import time
from collections.abc import Callable
from contextvars import copy_context
from threading import Thread

from tasks.runtime.errors import brief, without_secrets


class Background:
    """Sends one message at a time, in a thread that ends with the process.

    A server that is down, or a message that fails, neither holds the work up nor stops it.
    """

    def __init__(self, every: float, first: float = 0.0) -> None:
        """`every`: least seconds between two messages; `first`: seconds before the first."""
        self._every, self._due = every, time.monotonic() + first
        self._thread: Thread | None = None

    @property
    def ready(self) -> bool:
        """Whether a message may be sent: none is under way, and the last one is long enough ago."""
        return time.monotonic() >= self._due and not (self._thread and self._thread.is_alive())

    def send(self, message: Callable[[], object]) -> None:
        """Send a message, in the context of the caller."""
        self._due = time.monotonic() + self._every
        self._thread = Thread(target=copy_context().run, args=(_tried, message), daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait a little for a message that is under way."""
        if self._thread:
            self._thread.join(seconds)


def _tried(message: Callable[[], object]) -> None:
    try:
        message()
    except Exception as error:  # whatever a client raises
        logging.getLogger("headstart").info("A message could not be sent: %s", without_secrets(brief(error)))
