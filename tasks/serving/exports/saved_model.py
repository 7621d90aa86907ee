"""TensorFlow SavedModel, from file bytes to all outputs of the version; for TensorFlow Serving."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tasks.serving.package import Served

INPUT = "image: string[n], the bytes of image files (JPEG, PNG, GIF, BMP, WebP)"
NAME = "saved_model"


def write(served: Served, folder: Path) -> None:
    """Signature `serving_default`; `set`: the classes of the set, most probable first, then empty strings.

    There is no `abstain` where the version has none.
    """
    import tensorflow as tf

    whole = tf.Module()
    with TemporaryDirectory() as network:
        served.network.export(network, format="tf_saved_model", verbose=False)
        whole.decoder, whole.network = served.decoder, tf.saved_model.load(network)
    whole.classes = tf.constant(served.spec.classes)
    whole.thresholds = tf.constant(served.spec.terms["set_thresholds"], tf.float32)
    size, terms = served.network.input_shape[1], served.spec.terms

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image")])
    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        square = tf.TensorSpec([size, size, 3], tf.uint8)
        outputs = whole.network.serve(
            tf.cast(tf.map_fn(whole.decoder.decode, image, fn_output_signature=square), tf.float32)
        )
        probabilities = outputs["probabilities"]
        most = tf.reduce_max(probabilities, axis=1)
        ranked, order = tf.math.top_k(probabilities, k=len(served.spec.classes))
        held = (ranked >= tf.gather(whole.thresholds, order)) | (ranked == most[:, None])
        novelty = outputs.get("novelty", tf.fill(tf.shape(most), np.float32("nan")))
        abstain = {} if terms["sure_from"] is None else {"abstain": most < terms["sure_from"]}
        return abstain | {
            "label": tf.gather(whole.classes, tf.argmax(probabilities, axis=1)),
            "probability": most,
            "probabilities": probabilities,
            "set": tf.where(held, tf.gather(whole.classes, order), ""),
            "novelty": novelty,
            "novel": novelty > 1,
        }

    tf.saved_model.save(whole, str(folder / NAME), signatures=serve)


def answer(folder: Path, images: list[bytes], pixels: np.ndarray) -> dict[str, np.ndarray]:
    """From the bytes."""
    import tensorflow as tf

    model = tf.saved_model.load(str(folder / NAME))
    outputs = model.signatures["serving_default"](image=tf.constant(images))
    found = {name: outputs[name].numpy() for name in ("probabilities", "novelty")}
    return {name: values for name, values in found.items() if not np.isnan(values).all()}
