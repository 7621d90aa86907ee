"""The losses of a training while it goes on."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from tasks.services.background import Background
from tasks.services.tracking.client import client

if TYPE_CHECKING:
    from mlflow.entities import Metric

    from tasks.training.fit import History

#: Least seconds between two messages to the server, and how long the end of a stage waits for the last one.
EVERY, WAIT = 2.0, 5.0


class Epochs:
    """Sends the losses of finished epochs to a run; what does not arrive is sent at the end of the stage."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.sent = 0
        self.messages = Background(EVERY)

    def tell(self, history: "History") -> None:
        """Send the epochs that are new, unless a message is under way or was sent a moment ago."""
        if self.messages.ready:
            new, self.sent = list(metrics(history, min(self.sent, history.epochs))), history.epochs
            self.messages.send(partial(client().log_batch, self.run_id, metrics=new))

    def end(self) -> None:
        """Wait a little for a message that is under way."""
        self.messages.wait(WAIT)


def metrics(history: "History", first: int = 0) -> "Iterator[Metric]":
    """The losses of the epochs from `first` on, as MLflow's metrics over steps 0, 1, …, at the times of the epochs."""
    from mlflow.entities import Metric

    for name, values in (("loss", history.loss), ("validation_loss", history.validation_loss)):
        for step in range(first, len(values)):
            yield Metric(name, float(values[step]), history.ended[step], step)
