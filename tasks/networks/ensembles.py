"""Several networks as one: the mean of their probabilities over the views of a photo."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tasks.data.images.augment import VIEWS
from tasks.networks import cutting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import keras


def averaged(
    members: Mapping[str, keras.Model], views: Sequence[str], blocks: Mapping[str, Sequence[str]] | None = None
) -> keras.Model:
    """Pixels, as the members take them, to the mean of their probabilities over the views of each image, [n, classes].

    `members`: classifiers of the same input by their names. `blocks`: for each, layers at which it can be cut, from the
    input on; a part that members share up to one of them is computed once. Each member also outputs its features;
    `cutting.features_of` finds those of the first.
    """
    import keras

    blocks = blocks or {}
    pixels = keras.Input(next(iter(members.values())).input_shape[1:])
    views_of = [VIEWS[view](pixels, keras.ops) for view in views]
    answers = []
    for names in _families(members, blocks):
        seen, parts = views_of, {name: _with_features(members[name]) for name in names}
        if shared := _shared([members[name] for name in names], blocks.get(names[0], ())):
            trunk, _ = cutting.cut(members[names[0]], shared)
            seen = [trunk(image) for image in seen]
            tops = {name: cutting.cut(members[name], shared, features=True)[1] for name in names}
            parts = {
                name: keras.Model(top.input, [keras.layers.Softmax()(top.outputs[0]), top.outputs[1]])
                for name, top in tops.items()
            }
        named = [keras.Model(part.input, part.output, name=name) for name, part in parts.items()]
        answers += [part(image)[0] for part in named for image in seen]
    mean = keras.layers.Average(name="mean")(answers) if len(answers) > 1 else answers[0]
    return keras.Model(pixels, mean, name="averaged")


def _families(members: Mapping[str, keras.Model], blocks: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Names of the members, grouped by the architecture of their backbones, in the order of the members."""
    families: dict[object, list[str]] = {}
    for name, network in members.items():
        cuts = blocks.get(name, ())
        shapes = [w.shape for w in cutting.cut(network, cuts[-1])[0].weights] if cuts else [name]
        families.setdefault((tuple(cuts), tuple(shapes)), []).append(name)
    return list(families.values())


def _with_features(network: keras.Model) -> keras.Model:
    """Pixels to probabilities and, if accessible, features."""
    import keras

    features = cutting.features_of(network)
    return keras.Model(network.input, [network.output] if features is None else [network.output, features])


def _shared(members: list[keras.Model], blocks: Sequence[str]) -> str:
    """The last block up to which all have the same weights; empty for a single member, or if there is none."""
    if len(members) == 1:
        return ""
    for block in reversed(blocks):
        first, *others = [cutting.cut(network, block)[0].get_weights() for network in members]
        if all(np.array_equal(a, b) for other in others for a, b in zip(first, other, strict=True)):
            return block
    return ""
