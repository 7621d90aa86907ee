"""Keras' guide to transfer learning, as a careful engineer types it: `python -m tests.benchmarks.strangers.guide …`.

https://keras.io/guides/transfer_learning/ on the network and weights of Headstart's default: a frozen head to
convergence, then everything but batch normalisation at a hundredth of the learning rate. Both are stopped early on 15 %
of the training photos; the better one on these answers the test photos.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from tests.benchmarks.strangers import answers

SIDE, BATCH = 224, 32
#: With more photos than this, float32 pixels do not fit in memory.
CACHED = 8_000


def main(
    folder: Path,
    out: Path,
    seed: int = 0,
    seconds: float = 600.0,
    change: Annotated[list[str] | None, typer.Option()] = None,
) -> None:
    """Train on `folder/train` for at most `seconds`, answer the questions; `change`: flip, rotate."""
    started = answers.clock()
    import keras

    keras.utils.set_random_seed(seed)
    train, validation = keras.utils.image_dataset_from_directory(
        folder / "train",
        validation_split=0.15,
        subset="both",
        seed=seed,
        image_size=(SIDE, SIDE),
        batch_size=BATCH,
        verbose=False,
    )
    classes = train.class_names
    if len(train.file_paths) < CACHED:
        train, validation = train.cache().shuffle(64, seed=seed), validation.cache()
    base, model = _model(len(classes), change or [])
    with_frozen = _fit(model, train, validation, 1e-3, 5, started + seconds / 2)
    frozen_weights = model.get_weights()
    base.trainable = True
    for layer in base.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    with_all = _fit(model, train, validation, 1e-5, 3, started + seconds)
    if with_frozen < with_all:
        model.set_weights(frozen_weights)
    took = answers.clock() - started
    model.save(out.with_suffix(".keras"))
    size = out.with_suffix(".keras").stat().st_size / 1e6
    for photos, file in answers.questions(folder, out):
        asked = keras.utils.image_dataset_from_directory(
            photos, image_size=(SIDE, SIDE), batch_size=BATCH, shuffle=False, verbose=False
        )
        probabilities = np.asarray(keras.ops.softmax(model.predict(asked, verbose=0)))
        answers.write(file, asked.file_paths, probabilities, classes, took, size)


def _model(classes: int, change: list[str]) -> tuple[Any, Any]:
    import keras

    from tasks.networks import backbones
    from tasks.settings import Candidate

    base = backbones.load(Candidate(), SIDE).model
    base.trainable = False
    pixels = x = keras.Input((SIDE, SIDE, 3))
    if "flip" in change:
        x = keras.layers.RandomFlip("horizontal")(x)
    if "rotate" in change:
        x = keras.layers.RandomRotation(0.1)(x)
    x = keras.layers.GlobalAveragePooling2D()(base(x, training=False))
    logits = keras.layers.Dense(classes)(keras.layers.Dropout(0.2)(x))
    return base, keras.Model(pixels, logits)


def _fit(model: Any, train: Any, validation: Any, rate: float, patience: int, until: float) -> float:
    """Train until validation loss stops falling, or until a time by `answers.clock`; the lowest loss."""
    import keras

    class Clock(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if answers.clock() > until:
                self.model.stop_training = True

    model.compile(keras.optimizers.Adam(rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    stopping = keras.callbacks.EarlyStopping(patience=patience, restore_best_weights=True)
    history = model.fit(train, validation_data=validation, epochs=100, verbose=0, callbacks=[stopping, Clock()])
    return min(history.history["val_loss"])


if __name__ == "__main__":
    typer.run(main)
