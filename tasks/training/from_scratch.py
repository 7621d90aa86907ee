"""Networks that start from random weights and are trained from pixels as a whole, batch normalisation included."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.networks import backbones, classifiers, freezing, pooling
from tasks.runtime import plugins
from tasks.settings import Backbone, Loss
from tasks.training import fit

if TYPE_CHECKING:
    import keras

#: Images per step, and the least number of images in an epoch; fewer images are repeated.
BATCH, EPOCH = 32, 320
RATE, DECAY = 1e-3, 1e-2
#: For batch normalisation's statistics over some hundred steps; the usual 0.99 is for many thousand.
MOMENTUM = 0.9
#: Filters of the small network's convolutions, each of which halves the side.
FILTERS = (16, 32, 64, 128)


def network(backbone: Backbone | None, size: int, classes: int) -> keras.Model:
    """Pixels 0 to 255, [n, size, size, 3], to logits [n, classes].

    The backbone's architecture, with the random weights of its settings and a linear head; without one, a small CNN.
    """
    features = pooling.pooled(backbones.load(backbone, size), backbone.pooling) if backbone else _small(size)
    head = plugins.entry("heads", "linear")(features.output_shape[1:], classes)
    model = classifiers.to_logits(classifiers.classifier(features, head))
    model.trainable = True
    for layer in freezing.norms(model):
        layer.momentum = MOMENTUM
    return model


def plan(epochs: int, loss: Loss, seed: int) -> fit.Plan:
    """AdamW; the learning rate rises over a tenth of the steps, then falls to 0; the best epoch's weights are kept."""
    return fit.Plan(
        epochs=epochs,
        patience=epochs,
        learning_rate=RATE,
        weight_decay=DECAY,
        batch_size=BATCH,
        seed=seed,
        warm_up=0.1,
        cosine=True,
        loss=loss,
    )


def _small(size: int) -> keras.Model:
    import keras
    from keras import layers

    pixels = keras.Input((size, size, 3), name="pixels")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="to_range")(pixels)
    for filters in FILTERS:
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.MaxPooling2D()(x)
    return keras.Model(pixels, layers.GlobalAveragePooling2D(name="pool")(x), name="features")
