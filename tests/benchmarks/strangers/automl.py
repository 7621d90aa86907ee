"""AutoKeras, a search for architectures by Keras' own people: called by `__main__`, which names what it needs.

https://autokeras.com/image_classifier/ with its defaults: it learns each network from random weights, as those that it
would download are not part of it. The search is ended by the clock, and the best trial on 15 % of the training photos
answers the test photos.
"""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from tests.benchmarks.strangers import answers

#: Side of the photos, pixels: networks that begin with random weights learn faster from small ones.
SIDE, BATCH = 96, 32


def main(
    folder: Path,
    out: Path,
    seed: int = 0,
    seconds: float = 600.0,
    change: Annotated[list[str] | None, typer.Option()] = None,
) -> None:
    """Search on `folder/train` for at most `seconds`, answer the questions; `change` is left to the search."""
    started = answers.clock()
    import autokeras
    import keras
    import keras_tuner

    class Clock(keras.callbacks.Callback):
        """Ends a trial when the time is over, and the search with the next one."""

        def on_train_begin(self, logs: Any = None) -> None:
            if answers.clock() > started + seconds:
                raise keras_tuner.errors.FatalRuntimeError("the time is over")

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if answers.clock() > started + seconds:
                self.model.stop_training = True

    pixels, labels, classes, _ = _photos(folder / "train")
    with tempfile.TemporaryDirectory() as place:
        search = autokeras.ImageClassifier(directory=place, overwrite=True, seed=seed)
        try:
            # One-hot, so that the order of the classes is ours.
            targets = keras.utils.to_categorical(labels, len(classes))
            search.fit(pixels, targets, validation_split=0.15, batch_size=BATCH, verbose=0, callbacks=[Clock()])
        except keras_tuner.errors.FatalRuntimeError:
            pass
        model = search.tuner.get_best_model()
        took = answers.clock() - started
        model.save(out.with_suffix(".keras"))
        size = out.with_suffix(".keras").stat().st_size / 1e6
        for photos, file in answers.questions(folder, out):
            asked, _, _, files = _photos(photos)
            found = np.asarray(model.predict(asked, verbose=0), np.float64)
            # Two classes end in one sigmoid each.
            answers.write(file, files, found / found.sum(axis=1, keepdims=True), classes, took, size)


def _photos(folder: Path) -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
    """Pixels uint8[n, side, side, 3], labels int[n], names of the classes, and files; in a random order."""
    import keras

    found = keras.utils.image_dataset_from_directory(
        folder, image_size=(SIDE, SIDE), batch_size=None, shuffle=False, verbose=False
    )
    order = np.random.default_rng(0).permutation(len(found.file_paths))
    pairs = list(found.as_numpy_iterator())
    pixels = np.stack([image for image, _ in pairs]).astype(np.uint8)[order]
    labels = np.array([label for _, label in pairs])[order]
    return pixels, labels, found.class_names, [found.file_paths[at] for at in order]


if __name__ == "__main__":
    typer.run(main)
