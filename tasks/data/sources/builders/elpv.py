"""ELPV: 2,624 electroluminescence photos of solar cells, read out of the package `elpv-dataset`.

Deitsch et al., Automatic classification of defective photovoltaic module cells in electroluminescence images, Solar
Energy 185 (2019) 455-468, https://doi.org/10.1016/j.solener.2019.02.067. Licence of the photos: CC BY-NC-SA 4.0, not
for commercial use. The package is no dependency of this project's wheel.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from tasks.runtime.errors import DependencyError

PACKAGE = "elpv-dataset"


class Elpv(tfds.core.GeneratorBasedBuilder):
    """`tfds.builder("elpv")` once this module is imported. Needs no network."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Electroluminescence photos of solar cells; defective where the probability is above 0.5.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(300, 300, 1), encoding_format="png"),
                    "label": tfds.features.ClassLabel(names=["functional", "defective"]),
                    "probability": tfds.features.Scalar(np.float32),
                    "cell_type": tfds.features.ClassLabel(names=["mono", "poly"]),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://github.com/zae-bayern/elpv-dataset",
            license="CC BY-NC-SA 4.0",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
        return {"train": self._generate_examples(_data())}

    def _generate_examples(self, data: Path) -> Iterator[tuple[str, dict[str, Any]]]:
        for line in (data / "labels.csv").read_text().splitlines():
            if not line.strip():
                continue
            path, probability, cell_type = line.split()
            defective = float(probability) > 0.5
            yield (
                Path(path).stem,
                {
                    "image": str(data / path),
                    "label": "defective" if defective else "functional",
                    "probability": float(probability),
                    "cell_type": cell_type,
                },
            )


def _data() -> Path:
    spec = find_spec("elpv_dataset")
    if spec is None or not spec.submodule_search_locations:
        raise DependencyError(f"Expected the package {PACKAGE} (CC BY-NC-SA 4.0), found none: pip install {PACKAGE}.")
    return Path(spec.submodule_search_locations[0]) / "data"
