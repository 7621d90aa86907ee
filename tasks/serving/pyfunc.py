"""The MLflow model of a registered version, kept beside its weights as text and run from there.

MLflow's models from code (https://mlflow.org/docs/latest/ml/model/models-from-code/): nothing is pickled, and nothing
of this project is imported. Input: a column `image` of file bytes (JPEG, PNG, GIF, BMP, WebP). Output: a row an image.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

BATCH = 32


class Classifier(PythonModel):
    """Image bytes to label, probability, and the probabilities of all classes in the order of `classes.json`."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the network, refusing any code in it, the decoder graph, and the labels."""
        import keras
        import tensorflow as tf

        folder = Path(context.artifacts["classifier"])
        self.classes = json.loads((folder / "classes.json").read_text(encoding="utf-8"))
        self.decoder = tf.saved_model.load(str(folder / "decoder"))
        if (folder / "network").exists():
            graph = tf.saved_model.load(str(folder / "network"))
            self.run = lambda pixels: graph.serve(tf.cast(pixels, tf.float32))
            return
        network = keras.saving.load_model(folder / "network.keras", compile=False, safe_mode=True)
        if keras.backend.backend() != "tensorflow":
            self.run = lambda pixels: network.predict_on_batch(pixels.numpy().astype("float32"))
            return
        shape = (None, *network.input_shape[1:])
        self.run = tf.function(
            lambda pixels: network(tf.cast(pixels, tf.float32), training=False),
            input_signature=[tf.TensorSpec(shape, tf.uint8)],
            autograph=False,
        )

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """`label`, `probability` 0 to 1, `probabilities` float[classes]. Unreadable bytes raise TensorFlow's error."""
        import tensorflow as tf

        images = list(model_input["image"])
        found = []
        for start in range(0, len(images), BATCH):
            pixels = [self.decoder.decode(tf.constant(data)) for data in images[start : start + BATCH]]
            found.append(np.asarray(self.run(tf.stack(pixels))))
        probabilities = np.concatenate(found).astype(np.float64) if found else np.empty((0, len(self.classes)))
        return pd.DataFrame(
            {
                "label": [self.classes[i] for i in probabilities.argmax(axis=1)],
                "probability": probabilities.max(axis=1),
                "probabilities": list(probabilities),
            }
        )


set_model(Classifier())
