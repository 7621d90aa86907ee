"""A killed training continues from its last saved epoch, with the same result as without the interruption.

Keras' BackupAndRestore keeps the weights and the number of the epoch, but resets early stopping, the losses, the order
of the rows and their random changes, and a kill while it writes leaves half a file
(https://keras.io/api/callbacks/backup_and_restore). Here one file holds everything and replaces the previous file in a
single step. `fit` restores the order of the rows.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.runtime import progress
from tasks.runtime.errors import brief
from tasks.runtime.home import home
from tasks.runtime.store.writing import replacing

if TYPE_CHECKING:
    import keras

#: Least seconds between two files (short epochs are repeated instead of saved), and the largest share of the time that
#: writing may take.
SECONDS, SHARE = 5.0, 0.02
#: Days after which the file of an unfinished training is deleted.
DAYS = 30


@dataclass
class State:
    """The state of a training, besides its variables."""

    #: Losses of each finished epoch; `validation_loss` is empty without validation images.
    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    #: When each epoch ended, milliseconds since 1970.
    ended: list[int] = field(default_factory=list)
    #: Early stopping ended it.
    stopped: bool = False
    #: Early stopping's: the lowest loss, its epoch from 0, and the epochs since.
    best: float | None = None
    best_epoch: int = 0
    wait: int = 0
    #: State of the NumPy generator that changes rows at random.
    random: Mapping[str, Any] = field(default_factory=dict)


class Epochs:
    """The finished epochs of a training; `restore` and `add` are called as Keras callbacks.

    `address`: digest of everything that the training depends on, and name of the file; if empty, nothing is kept.
    `stopping` keeps the best weights; `averaging` swaps weights and their averages; `random` changes the rows.
    """

    def __init__(
        self,
        address: str,
        model: keras.Model,
        stopping: keras.callbacks.EarlyStopping | None,
        averaging: keras.callbacks.SwapEMAWeights | None,
        random: np.random.Generator | None,
    ) -> None:
        self.model, self.stopping, self.averaging, self.random = model, stopping, averaging, random
        self.variables = [*model.variables, *model.optimizer.variables]
        self.state = State()
        self.values: list[np.ndarray] = []
        self.best: list[np.ndarray] = []
        self.due = time.perf_counter() + SECONDS
        self.file = _folder() / f"{address}.npz" if address else None
        if self.file:
            _forget_old()
            self._read(self.file)

    @property
    def over(self) -> int:
        """Number of finished epochs."""
        return len(self.state.loss)

    def restore(self, logs: object = None) -> None:
        """Restore the state from the file, after the other callbacks have started."""
        if not self.over:
            return
        if self.averaging:
            # It then expects the averages in the model; the stored values contain them.
            self.averaging.on_epoch_end(self.over - 1)
        for variable, value in zip(self.variables, self.values, strict=True):
            variable.assign(value)
        self.values = []
        if self.stopping:
            self.stopping.best, self.stopping.best_epoch = self.state.best, self.state.best_epoch
            self.stopping.best_weights, self.stopping.wait = self.best, self.state.wait
        if self.random:
            self.random.bit_generator.state = self.state.random

    def add(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Record an epoch's losses after the other callbacks, and write its state if that is due."""
        self.state.loss.append(float(logs["loss"]))
        self.state.ended.append(int(time.time() * 1000))
        if self.stopping:
            self.state.validation_loss.append(float(logs["val_loss"]))
        if self.file and time.perf_counter() >= self.due:
            started = time.perf_counter()
            self._write(self.file)
            now = time.perf_counter()
            self.due = now + max(SECONDS, (now - started) / SHARE)

    def _write(self, file: Path) -> None:
        state, best = self.state, []
        if self.stopping:
            best = self.stopping.best_weights
            state.stopped, state.best = self.model.stop_training, float(self.stopping.best)
            state.best_epoch, state.wait = self.stopping.best_epoch, self.stopping.wait
        if self.random:
            state.random = self.random.bit_generator.state
        arrays: dict[str, Any] = {f"value {i}": variable.numpy() for i, variable in enumerate(self.variables)}
        arrays |= {f"best {i}": value for i, value in enumerate(best)}
        # Another process may have finished the same training and removed its files.
        with suppress(FileNotFoundError), replacing(file) as working, working.open("wb") as out:
            np.savez(out, allow_pickle=False, state=np.array(json.dumps(asdict(state))), **arrays)
            out.flush()
            os.fsync(out.fileno())

    def _read(self, file: Path) -> None:
        """Read the file, if it is complete and of this model; else rename it."""
        if not file.exists():
            return
        try:
            with file.open("rb") as opened, np.load(opened, allow_pickle=False) as kept:
                state = State(**json.loads(str(kept["state"])))
                if not state.ended:  # of an older release
                    state.ended = [int(file.stat().st_mtime * 1000)] * len(state.loss)
                values = _like(self.variables, "value", kept)
                best = _like(self.model.weights, "best", kept) if self.stopping else []
        # Whatever is wrong with it, training can start again.
        except Exception as error:
            aside = file.with_name(f"{file.stem}.damaged.npz")
            file.replace(aside)
            progress.say(f"Training starts again: the checkpoint {aside} cannot be used: {brief(error)}")
            return
        self.state, self.values, self.best = state, values, best
        progress.say(f"Training continues after epoch {self.over} of an interrupted training.")


def forget(address: str) -> None:
    """Remove the files of a training whose result is stored."""
    for file in _folder().glob(f"*{address}.*"):
        file.unlink(missing_ok=True)


def _folder() -> Path:
    return home() / "store" / "epochs"


def _forget_old() -> None:
    for file in _folder().glob("*"):
        with suppress(FileNotFoundError):
            if time.time() - file.stat().st_mtime > DAYS * 24 * 3600:
                file.unlink()


def _like(variables: Sequence[keras.Variable], name: str, kept: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The arrays of this name; raises `ValueError` unless they are of the variables' shapes and types."""
    arrays = [kept[each] for each in kept if each.startswith(f"{name} ")]
    found = [(array.shape, str(array.dtype)) for array in arrays]
    expected = [(tuple(variable.shape), str(variable.dtype)) for variable in variables]
    if found != expected:
        raise ValueError(f"expected {len(expected)} arrays of the network's shapes, found {len(found)} that differ")
    return arrays
