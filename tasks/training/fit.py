"""Fit a model from inputs to logits: AdamW, cross-entropy, early stopping on validation with the best weights kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.data.images.pipeline import untuned
from tasks.features.batches import Batches
from tasks.networks import backend
from tasks.runtime import progress
from tasks.settings import Head, Loss, Training, Tuning
from tasks.training import checkpoints, distribution, optimizers

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


#: Values of the inputs that are predicted at a time: 32 photos of 224 pixels; and the fewest rows.
VALUES, FEWEST = 32 * 224 * 224 * 3, 8


@dataclass(frozen=True)
class Plan:
    """How to train: settings of AdamW, the number of epochs, and the order of the rows."""

    epochs: int
    patience: int
    learning_rate: float
    weight_decay: float
    batch_size: int
    seed: int
    warm_up: float = 0.0
    clip_norm: float = 0.0
    ema: float = 0.0
    cosine: bool = False
    #: Each variable's share of the learning rate, by its path; empty: the full rate.
    shares: Mapping[str, float] = field(default_factory=dict)
    loss: Loss = field(default_factory=Loss)
    #: After these, training ends with the step under way; 0: no limit.
    minutes: float = 0.0

    def steps(self, rows: int) -> int:
        """Steps in all epochs."""
        return -(-rows // self.batch_size) * self.epochs


@dataclass
class History:
    """Losses of each epoch; `validation_loss` is empty without validation images."""

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    #: When each epoch ended, milliseconds since 1970.
    ended: list[int] = field(default_factory=list, compare=False)

    @property
    def epochs(self) -> int:
        """Epochs that were trained."""
        return len(self.loss)

    @property
    def best(self) -> int:
        """Epochs after which the weights were final."""
        return int(np.argmin(self.validation_loss)) + 1 if self.validation_loss else self.epochs


def seed_everything(seed: int) -> None:
    """Make the backend, TensorFlow, NumPy and Python reproducible on the same machine."""
    import tensorflow as tf

    backend.seed(seed)
    tf.config.experimental.enable_op_determinism()
    if backend.current() == "torch":
        import torch

        torch.use_deterministic_algorithms(True)


def fit(
    model: keras.Model,
    train: Batches,
    validation: Batches | None,
    plan: Plan,
    on_epoch: Callable[[History], None] = lambda history: None,
    only: int = 0,
    address: str = "",
) -> History:
    """Train in place; the weights of the epoch with the lowest validation loss are kept.

    Without validation rows, the last epoch's are kept. `only`: end after this number of the plan's epochs. `on_epoch`
    gets the losses so far after each epoch. `address`: digest of everything that the training depends on; a killed
    training with the same address is continued, see `checkpoints`.
    """
    from keras import callbacks

    last = only or plan.epochs
    averaging = callbacks.SwapEMAWeights(swap_on_epoch=True) if plan.ema else None
    stopping = callbacks.EarlyStopping("val_loss", 0, plan.patience, restore_best_weights=True) if validation else None
    with distribution.scope_of(model):
        _compile(model, plan, plan.steps(len(train.labels)))
        epochs = checkpoints.Epochs(address, model, stopping, averaging, train.random)
        keep = callbacks.LambdaCallback(on_train_begin=epochs.restore, on_epoch_end=epochs.add)

        def tell(epoch: int, logs: object) -> None:
            progress.reached("epochs", epoch + 1, last)
            on_epoch(_history(epochs.state))

        # Early stopping judges and keeps the average; the checkpoint keeps the result of the others.
        order = [averaging, stopping, _limit(model, plan), keep]
        model.fit(
            _dataset(train, plan.batch_size, plan.seed, plan.loss.balance, epochs.over),
            validation_data=_dataset(validation, plan.batch_size) if validation else None,
            initial_epoch=last if epochs.state.stopped else epochs.over,
            epochs=last,
            callbacks=[*filter(None, order), callbacks.LambdaCallback(on_epoch_end=tell)],
            shuffle=False,  # the data set shuffles
            verbose=0,
        )
    # The optimizer and loss are not saved with the model: its file cannot name a loss that is a function.
    model.compiled, model.optimizer = False, None
    return _history(epochs.state)


def _history(state: checkpoints.State) -> History:
    return History(state.loss, state.validation_loss, state.ended)


def _limit(model: keras.Model, plan: Plan) -> keras.callbacks.Callback | None:
    """Ends the training with the step in which the plan's minutes are over."""
    from keras import callbacks

    ends = time.perf_counter() + 60 * plan.minutes

    def check(step: int, logs: object) -> None:
        model.stop_training = model.stop_training or time.perf_counter() > ends

    return callbacks.LambdaCallback(on_train_batch_end=check) if plan.minutes else None


def losses(
    model: keras.Model,
    train: Batches,
    plan: Plan,
    learning_rates: tuple[float, ...],
    diverged: Callable[[list[float]], bool],
) -> list[float]:
    """The loss of each step of training in place at these rates, until they have `diverged`."""
    found: list[float] = []
    with distribution.scope_of(model):
        _compile(model, plan, len(learning_rates))
        batches = iter(_dataset(train, plan.batch_size, plan.seed, plan.loss.balance).repeat())
        for rate, batch in zip(learning_rates, batches, strict=False):
            model.optimizer.learning_rate = rate
            model.reset_metrics()
            found.append(float(np.asarray(model.train_on_batch(*batch))))
            if diverged(found):
                break
    return found


def _compile(model: keras.Model, plan: Plan, steps: int) -> None:
    def learning_rate(share: float) -> float | keras.optimizers.schedules.LearningRateSchedule:
        return optimizers.schedule(plan.learning_rate * share, steps, plan.warm_up, plan.cosine)

    model.compile(
        optimizer=optimizers.optimizer(learning_rate, plan.shares, plan.weight_decay, plan.clip_norm, plan.ema),
        loss=_cross_entropy(plan.loss.label_smoothing),
        # JAX needs it. With TensorFlow, XLA takes 1.6 times as long on a CPU and has no deterministic operations.
        jit_compile=backend.current() == "jax",
    )
    # TensorFlow traces a step twice if the first trace makes variables.
    model.optimizer.build(model.trainable_variables)


def _cross_entropy(smoothing: float) -> Callable[[Any, Any], Any]:
    """The loss of each row: labels int[n] or shares of the classes float[n, classes], logits float[n, classes]; nats.

    Label smoothing: Szegedy et al. 2016, https://arxiv.org/abs/1512.00567, section 7.
    """
    import keras

    def loss(labels: Any, logits: Any) -> Any:
        shares = len(labels.shape) == 2 and labels.shape[-1] == logits.shape[-1]
        if not (shares or smoothing):
            return keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        if not shares:
            labels = keras.ops.one_hot(keras.ops.cast(labels, "int32"), logits.shape[-1])
        return keras.losses.categorical_crossentropy(labels, logits, from_logits=True, label_smoothing=smoothing)

    return loss


def plan(
    settings: Head | Tuning, rate: float, loss: Loss, seed: int, shares: Mapping[str, float] | None = None
) -> Plan:
    """A plan from a stage's settings and a learning rate, which falls along a cosine for tuning of the network."""
    values = {name: getattr(settings, name) for name in Training.model_fields}
    cosine = isinstance(settings, Tuning)
    minutes = settings.minutes if isinstance(settings, Tuning) else 0.0
    return Plan(**values, learning_rate=rate, seed=seed, cosine=cosine, loss=loss, shares=shares or {}, minutes=minutes)


def predict(model: keras.Model, batches: Batches, most: int = 128) -> np.ndarray:
    """The model's outputs, usually logits, float32[n, classes], in the order of the rows; at most `most` at a time.

    Of large inputs fewer: a network on 128 photos of 448 pixels takes more than 10 GB.
    """
    fitting = VALUES // max(math.prod(batches.read(np.arange(1)).shape[1:]), 1)
    return model.predict(_dataset(batches, min(max(fitting, FEWEST), most)), verbose=0)


def scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Accuracy and log loss (nats) of logits [n, classes] against labels int[n]."""
    from scipy.special import log_softmax

    chosen = log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels]
    return {"accuracy": float((logits.argmax(1) == labels).mean()), "log_loss": float(-chosen.mean())}


def balanced(labels: np.ndarray) -> np.ndarray:
    """Weight of each class for labels int[n], float32[classes]: equal in sum, and 1 on average over the labels."""
    counts = np.bincount(labels)
    return (len(labels) / np.maximum(counts, 1) / np.count_nonzero(counts)).astype(np.float32)


def _dataset(
    batches: Batches, batch_size: int, seed: int | None = None, balance: str = "none", over: int = 0
) -> tf.data.Dataset:
    """Batches of (inputs, labels), read ahead of the training step; in a new order each pass if there is a seed.

    With weights, or `balance` "weights", a third part is each row's weight, 1 on average. `over`: number of finished
    epochs, whose orders are skipped.
    """
    import tensorflow as tf

    shape, shares = batches.read(np.arange(1)).shape[1:], batches.labels.ndim == 2
    labels = (batches.labels.argmax(axis=1) if shares else batches.labels).astype(np.int64)
    said = batches.labels.astype(np.float32) if shares else labels
    weights = balanced(labels)[labels] if balance == "weights" else batches.weights
    each = None if weights is None else weights.astype(np.float32)

    def read(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inputs = batches.read(positions)
        return batches.mix(inputs, said[positions]) if batches.mix else (inputs, said[positions])

    def load(positions: tf.Tensor) -> tuple[tf.Tensor, ...]:
        inputs, targets = tf.numpy_function(read, [positions], (tf.float32, said.dtype))
        inputs, targets = tf.ensure_shape(inputs, [None, *shape]), tf.ensure_shape(targets, [None, *said.shape[1:]])
        return (inputs, targets) if each is None else (inputs, targets, tf.gather(each, positions))

    order = tf.data.Dataset.range(len(labels))
    if seed is not None:
        order = _evenly(labels, seed) if balance == "sampling" else order.shuffle(len(labels), seed)
        _pass_by(order, over, len(labels))
    return untuned(order.batch(batch_size).map(load).prefetch(2))


def _pass_by(order: tf.data.Dataset, epochs: int, rows: int) -> None:
    """Advance an order by a number of epochs: its random state continues from iterator to iterator."""
    positions = untuned(order.batch(rows))
    for _ in range(epochs):
        for _ in positions:
            pass
        if backend.current() == "tensorflow":
            # Keras starts another one at the end of an epoch, and drops it (`EpochIterator._enumerate_iterator`).
            iter(positions)


def _evenly(labels: np.ndarray, seed: int) -> tf.data.Dataset:
    """As many positions as there are labels, every class equally likely, in a new order each pass."""
    import tensorflow as tf

    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    orders = [tf.data.Dataset.from_tensor_slices(rows).shuffle(len(rows), seed).repeat() for rows in classes]
    drawn = tf.data.Dataset.sample_from_datasets(
        orders, [1 / len(orders)] * len(orders), seed=seed, rerandomize_each_iteration=True
    )
    return drawn.take(len(labels))
