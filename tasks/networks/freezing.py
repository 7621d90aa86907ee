"""Which variables may change in training and which must not, and the check of it.

Keras' documented idiom, `base(x, training=False)` and later `base.trainable = True`, does not keep batch normalisation
still: `fit` overrides `training` and the moving statistics drift. `trainable = False` on each such layer does
(https://keras.io/guides/transfer_learning/, "Important notes about BatchNormalization layer").
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


#: Names of layers that are never trained begin so.
STILL = "still_"


#: What Keras and KerasHub call the layers of queries and values in an attention, alone or together with the keys.
ATTENTION = re.compile(r"_?(q|v|query|value|qkv)(_dense|_proj|_layer)?")


class FrozenChanged(RuntimeError):
    """Training changed a variable that was declared frozen."""


def freeze(model: keras.Model) -> None:
    """Nothing of the model is trained."""
    model.trainable = False


def unfreeze(model: keras.Model) -> None:
    """Everything of the model is trained except batch normalisation, statistics included, and what is `STILL`."""
    model.trainable = True
    for layer in [*norms(model), *(each for each in model._flatten_layers() if each.name.startswith(STILL))]:
        layer.trainable = False


def low_rank(model: keras.Model, rank: int) -> int:
    """Only updates of a rank to queries and values are trained, and the layer `head`; returns how many such layers.

    LoRA: Hu et al. 2021, https://arxiv.org/abs/2106.09685, section 4. At first the updates are 0.
    """
    import keras

    every = list(model._flatten_layers())
    still = {id(inner) for each in every if each.name.startswith(STILL) for inner in each._flatten_layers()}
    found = {
        id(layer): layer
        for attention in every
        if id(attention) not in still
        for name, layer in vars(attention).items()
        if isinstance(layer, keras.layers.Dense | keras.layers.EinsumDense) and ATTENTION.fullmatch(name)
    }
    unfreeze(model)
    for variable in others(model, model.get_layer("head").variables):
        variable.trainable = False
    for layer in found.values():
        layer.enable_lora(rank)
    return len(found)


def merged(model: keras.Model, plain: keras.Model) -> keras.Model:
    """`plain`, the network as it was before `low_rank`, with the model's weights and their updates."""
    for old, new in zip(plain._flatten_layers(), model._flatten_layers(), strict=True):
        updated = getattr(new, "lora_enabled", False)
        values = [new.kernel, *([] if new.bias is None else [new.bias])] if updated else new._trainable_variables
        own = old._trainable_variables
        for variable, value in zip(own, values, strict=True):
            variable.assign(value)
    return plain


def norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Every batch normalisation of the model."""
    import keras

    return [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]


def frozen_variables(model: keras.Model) -> list[keras.Variable]:
    """Weights that training must not change, with moving statistics, without states of random generators."""
    return others(model, model.trainable_variables)


def statistics(model: keras.Model) -> list[keras.Variable]:
    """Moving means and variances of every batch normalisation of the model."""
    return [variable for layer in norms(model) for variable in (layer.moving_mean, layer.moving_variance)]


def others(model: keras.Model, some: list[keras.Variable]) -> list[keras.Variable]:
    """The model's variables except `some` and the states of random generators."""
    known = {id(variable) for variable in some}
    return [v for v in model.variables if id(v) not in known and "seed_generator" not in v.path]


def variables_digest(variables: list[keras.Variable]) -> str:
    """SHA-256 of the values, bit for bit."""
    import numpy as np

    total = hashlib.sha256()
    for variable in variables:
        total.update(variable.path.encode())
        total.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return total.hexdigest()


def check_frozen(before: str, variables: list[keras.Variable]) -> None:
    """Raise `FrozenChanged` when the variables no longer have the digest `before`."""
    if variables_digest(variables) != before:
        raise FrozenChanged(
            f"Expected the {len(variables)} frozen variables to be the same after training, found them changed."
        )
