"""Export formats of a version.

An exporter has `write(served, folder)`, which puts its files into an empty folder, and
`answer(folder, images, pixels)`, which runs them as a user would: `images` are file bytes, `pixels` the same images
prepared, float32[n, size, size, 3], 0 to 255. It returns `probabilities` float32[n, classes] and, if the version has
it, `novelty` float32[n]. `INPUT` describes the input of the exported model.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks.networks import backend
from tasks.runtime import plugins
from tasks.runtime.errors import DataError, DependencyError, brief
from tasks.serving import calibrated, package

#: Largest difference of an exported model's answers from the version's; for novelty above 1 the relative difference.
TOLERANCE = 1e-4
SPEC = "spec.json"


def write(
    format: str, source: Path, facts: dict[str, Any], images: list[bytes], wanted: pd.DataFrame, to: Path
) -> float:
    """Write a version in one of the formats, and compare its answers for images with the known ones.

    `source`: the served folder of the version. `wanted`: its answers for the images, with the columns `probabilities`
    and `novelty`. `facts` go into `spec.json`, with everything needed to prepare images and read the answers. Returns
    the largest difference. Raises `DataError` if one is above `TOLERANCE`, `DependencyError` if a library that the
    format needs is not installed.
    """
    backend.use("tensorflow")
    exporter = plugins.load("exports", format)
    served = package.read(source)
    try:
        exporter.write(served, to)
        pixels = np.stack([served.decoder.decode(image).numpy() for image in images]).astype(np.float32)
        found = exporter.answer(to, images, pixels)
    except ModuleNotFoundError as error:
        raise DependencyError(
            f"Expected the package {error.name} for {format}, found none: pip install 'headstart[export]'."
        ) from None
    except Exception as error:
        raise DataError(
            f"Expected a network that can be exported as {format}, found one that cannot: {brief(error)}"
        ) from error
    spec = {"format": format} | facts | {"input": exporter.INPUT} | asdict(served.spec)
    (to / SPEC).write_text(json.dumps(spec, indent=1), encoding="utf-8")
    return _difference(format, found, wanted)


def _difference(format: str, found: dict[str, np.ndarray], wanted: pd.DataFrame) -> float:
    probabilities = np.stack(wanted["probabilities"].to_list())
    largest = float(np.abs(found[calibrated.PROBABILITIES] - probabilities).max())
    if calibrated.NOVELTY in found:
        novelty = wanted["novelty"].to_numpy()
        largest = max(largest, float((np.abs(found[calibrated.NOVELTY] - novelty) / np.maximum(novelty, 1)).max()))
    if not largest <= TOLERANCE:
        raise DataError(
            f"Expected the version's answers from {format} to within {TOLERANCE:g}, found a difference of "
            f"{largest:.1e}. Nothing was kept."
        )
    return largest
