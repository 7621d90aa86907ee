"""Fit a model from inputs to logits: AdamW, cross-entropy, early stopping on validation with the best weights kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tasks.engines import row_key
from tasks.settings import FineTune, Head

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from tasks.store import Table


@dataclass(frozen=True)
class Batches:
    """Rows to train on: `read(positions)` gives their inputs, so that they need not fit in memory."""

    read: Callable[[np.ndarray], np.ndarray]
    labels: np.ndarray  # int[n]

    def in_memory(self) -> Batches:
        """The same rows, read once."""
        inputs = self.read(np.arange(len(self.labels)))
        return Batches(lambda positions: inputs[positions], self.labels)


@dataclass(frozen=True)
class Plan:
    """How to train: steps of AdamW, their number, and the order of the rows."""

    epochs: int
    patience: int
    learning_rate: float
    weight_decay: float
    batch_size: int
    seed: int
    cosine: bool = False


@dataclass
class History:
    """Losses of each epoch."""

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)

    @property
    def epochs(self) -> int:
        """Epochs that were trained."""
        return len(self.loss)


def seed_everything(seed: int) -> None:
    """Make TensorFlow, NumPy and Python repeat themselves on the same machine."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def fit(
    model: keras.Model,
    train: Batches,
    validation: Batches,
    plan: Plan,
    on_epoch: Callable[[int], None] = lambda n: None,
) -> History:
    """Train in place; the weights of the epoch with the lowest validation loss stay."""
    import keras

    steps = -(-len(train.labels) // plan.batch_size) * plan.epochs
    rate = keras.optimizers.schedules.CosineDecay(plan.learning_rate, steps) if plan.cosine else plan.learning_rate
    model.compile(
        optimizer=keras.optimizers.AdamW(rate, weight_decay=plan.weight_decay),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    stop = keras.callbacks.EarlyStopping("val_loss", patience=plan.patience, restore_best_weights=True)
    tell = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: on_epoch(epoch))
    result = model.fit(
        _dataset(train, plan.batch_size, plan.seed),
        validation_data=_dataset(validation, plan.batch_size, None),
        epochs=plan.epochs,
        callbacks=[stop, tell],
        verbose=0,
    )
    return History(result.history["loss"], result.history["val_loss"])


def plan(settings: Head | FineTune, seed: int) -> Plan:
    """The settings of a stage as a plan; fine-tuning lets the learning rate fall along a cosine."""
    cosine = isinstance(settings, FineTune)
    shared = {name: getattr(settings, name) for name in Plan.__dataclass_fields__ if name not in ("seed", "cosine")}
    return Plan(**shared, seed=seed, cosine=cosine)


def predict(model: keras.Model, batches: Batches, batch_size: int = 128) -> np.ndarray:
    """Logits, float32[n, classes], in the rows' order."""
    return model.predict(_dataset(batches, batch_size, None), verbose=0)


def of_table(rows: pd.DataFrame, labels: np.ndarray, table: Table, views: tuple[str, ...] = ("identity",)) -> Batches:
    """Every view of every row as `Batches` over a table, read as they are needed, as float32."""
    read = table.reader([row_key(key, view) for key in rows["key"] for view in views])
    return Batches(lambda positions: read(positions).astype(np.float32), np.repeat(labels, len(views)))


def scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Accuracy and log loss (nats) of logits [n, classes] against labels int[n]."""
    from scipy.special import log_softmax

    chosen = log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels]
    return {"accuracy": float((logits.argmax(1) == labels).mean()), "log_loss": float(-chosen.mean())}


def _dataset(batches: Batches, batch_size: int, seed: int | None) -> keras.utils.PyDataset:
    import keras

    class Rows(keras.utils.PyDataset):
        """Whole passes in a new order each epoch, the same orders for the same seed; without a seed, in order."""

        def __init__(self) -> None:
            super().__init__()
            self.random = None if seed is None else np.random.default_rng(seed)
            self.order = np.arange(len(batches.labels))
            self.on_epoch_end()

        def __len__(self) -> int:
            return -(-len(self.order) // batch_size)

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            positions = self.order[index * batch_size : (index + 1) * batch_size]
            return batches.read(positions), batches.labels[positions]

        def on_epoch_end(self) -> None:
            if self.random is not None:
                self.random.shuffle(self.order)

    return Rows()
