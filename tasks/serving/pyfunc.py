"""The MLflow model of a registered version, stored as text beside its weights and run from there.

MLflow's models from code (https://mlflow.org/docs/latest/ml/model/models-from-code/): nothing is pickled, and nothing
of this project is imported. Input: a column `image` of file bytes (JPEG, PNG, GIF, BMP, WebP). Output: a row per image.
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
    """Image bytes to label, probability, prediction set and novelty; classes in the order of `spec.json`."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the network, refusing any code in it, the decoder graph, and the labels."""
        import keras
        import tensorflow as tf

        folder = Path(context.artifacts["classifier"])
        spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
        self.classes, self.terms = spec["classes"], spec["terms"]
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
    ) -> pd.DataFrame | pd.Series:
        """A row per image; only one column where `model_config` names it, as for `mlflow.models.evaluate`.

        Unreadable bytes raise TensorFlow's error.

        `label`, `probability` 0 to 1, `probabilities` float[classes]; `set`: classes, most probable first, that contain
        the true one, whichever it is, with the probability `coverage` of `spec.json`; `abstain`: not certain enough for
        the required precision, None where the validation images showed no confidence that is; `novelty`: distance from
        the training images, 1 at the limit, NaN if unknown; `novel`: above the limit.
        """
        import tensorflow as tf

        images = list(model_input["image"])
        parts: dict[str, list[np.ndarray]] = {"probabilities": [np.empty((0, len(self.classes)))], "novelty": []}
        for start in range(0, len(images), BATCH):
            pixels = [self.decoder.decode(tf.constant(data)) for data in images[start : start + BATCH]]
            outputs = self.run(tf.stack(pixels))
            parts["probabilities"].append(np.asarray(outputs["probabilities"]))
            parts["novelty"].append(np.asarray(outputs.get("novelty", np.full(len(pixels), np.nan))))
        probabilities = np.concatenate(parts["probabilities"]).astype(np.float64)
        novelty = np.concatenate([np.empty(0), *parts["novelty"]]).astype(np.float64)
        found = answers(probabilities, novelty, self.classes, self.terms)
        column = (getattr(context, "model_config", None) or {}).get("column")
        return found[column] if column else found


def answers(probabilities: np.ndarray, novelty: np.ndarray, classes: list[str], terms: dict[str, Any]) -> pd.DataFrame:
    """The columns of `predict`, from probabilities float64[n, classes] and novelty float64[n]."""
    most = probabilities.max(axis=1)
    held = (probabilities >= np.array(terms["set_thresholds"])) | (probabilities == most[:, None])
    order = np.argsort(-probabilities, axis=1, kind="stable")
    return pd.DataFrame(
        {
            "label": [classes[i] for i in probabilities.argmax(axis=1)],
            "probability": most,
            "probabilities": list(probabilities),
            "set": [[classes[i] for i in row if inside[i]] for row, inside in zip(order, held, strict=True)],
            "abstain": np.full(len(most), None) if terms["sure_from"] is None else most < terms["sure_from"],
            "novelty": novelty,
            "novel": novelty > 1,
        }
    )


set_model(Classifier())
