"""A folder that answers for itself: network, decoder, labels, and the settings that they were made with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.images.decode import preparer
from tasks.training import networks

if TYPE_CHECKING:
    from tasks.settings import Images


def write(folder: Path, network: Path, classes: tuple[str, ...], images: Images) -> None:
    """Write the network, `decoder/` (a SavedModel from bytes to pixels) and `classes.json`."""
    import tensorflow as tf

    networks.save(networks.load(network), folder)
    decoder = tf.Module()
    decoder.decode = preparer(images.size, images.fit, images.max_pixels)
    tf.saved_model.save(decoder, str(folder / "decoder"))
    (folder / "classes.json").write_text(json.dumps(list(classes)), encoding="utf-8")
