"""The losses of a training while it goes on."""

import logging
import time
from collections.abc import Iterator
from threading import Thread
from typing import TYPE_CHECKING

from tasks.runtime.errors import brief, without_secrets
from tasks.services.tracking.client import client

if TYPE_CHECKING:
    from mlflow.entities import Metric

    from tasks.training.fit import History

#: Least seconds between two messages to the server, and how long the end of a stage waits for the last one.
EVERY, WAIT = 2.0, 5.0


class Epochs:
    """Sends the losses of finished epochs to a run, in a thread that the training does not wait for.

    A server that is down must not hold the training up: what does not arrive is sent at the end of the stage.
    """

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.sent = 0
        self.due = 0.0
        self.thread: Thread | None = None

    def tell(self, history: "History") -> None:
        """Send the epochs that are new, unless a message is under way or was sent a moment ago."""
        if time.monotonic() < self.due or (self.thread and self.thread.is_alive()):
            return
        self.due = time.monotonic() + EVERY
        new, self.sent = list(metrics(history, min(self.sent, history.epochs))), history.epochs
        self.thread = Thread(target=self._send, args=(new,), daemon=True)
        self.thread.start()

    def end(self) -> None:
        """Wait a little for a message that is under way."""
        if self.thread:
            self.thread.join(WAIT)

    def _send(self, new: "list[Metric]") -> None:
        try:
            client().log_batch(self.run_id, metrics=new)
        except Exception as error:  # the stage sends them again, and fails if that does
            logging.getLogger("headstart").info("Losses could not be sent yet: %s", without_secrets(brief(error)))


def metrics(history: "History", first: int = 0) -> "Iterator[Metric]":
    """The losses of the epochs from `first` on, as MLflow's metrics over steps 0, 1, …, at the times of the epochs."""
    from mlflow.entities import Metric

    for name, values in (("loss", history.loss), ("validation_loss", history.validation_loss)):
        for step in range(first, len(values)):
            yield Metric(name, float(values[step]), history.ended[step], step)
