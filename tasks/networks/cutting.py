"""Where a network that nobody has named blocks for can be cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


def passages(model: keras.Model, levels: set[str]) -> list[str]:
    """Names of the layers that the whole network passes through where a block ends, from input to output.

    Those are blocks that are one layer, layers where paths part, and the last at each resolution, which `levels` names
    where they are known. Between any two of them lie layers with weights.
    """
    import keras

    found, weights, farthest = [], False, 0
    for i, (operation, users) in enumerate(_uses(model)):
        weights = weights or bool(getattr(operation, "weights", ()))
        passage = farthest <= i and isinstance(operation, keras.Layer)  # no path leads around it
        if weights and passage and _ends(operation, [model.operations[j] for j in users], levels):
            found.append(operation.name)
            weights = False
        farthest = max([farthest, *users])
    return found


def _uses(model: keras.Model) -> list[tuple[Any, list[int]]]:
    """The operations of the graph, in order, and the places of those that use their outputs."""
    import keras

    place = {id(t): i for i, each in enumerate(model.operations) for t in keras.tree.flatten(each.output)}
    users: list[list[int]] = [[] for _ in model.operations]
    for i, each in enumerate(model.operations[1:], 1):
        for tensor in keras.tree.flatten(each.input):
            users[place[id(tensor)]].append(i)
    return list(zip(model.operations, users, strict=True))


def _ends(layer: keras.Layer, users: list[Any], levels: set[str]) -> bool:
    if len(users) > 1:
        # Squeeze-and-excitation parts from the path inside a block: one way has no height and width.
        return all(len(user.output.shape) == 4 and user.output.shape[1:3] != (1, 1) for user in users)
    if type(layer).__name__.endswith("Block") or not users:
        return True
    return layer.name in levels if levels else users[0].output.shape[1:-1] != layer.output.shape[1:-1]
