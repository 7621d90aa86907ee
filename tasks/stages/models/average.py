"""Average: a network whose answer is the mean of other networks' answers for the views of a photo.

Over views this is test-time augmentation (Krizhevsky et al. 2012, https://dl.acm.org/doi/10.1145/3065386, section 4.1);
over the frozen and the fine-tuned network, or networks on several backbones, which make different errors, an ensemble
(Lakshminarayanan et al. 2017, https://arxiv.org/abs/1612.01474).
"""

import time
from dataclasses import replace

import numpy as np

from tasks.features import inference
from tasks.features.batches import batches_of
from tasks.networks import ensembles, files
from tasks.records import ImagesRef, ModelRef, digest
from tasks.runtime.home import home
from tasks.services.orchestration.stage import stage
from tasks.training import fit, saving


@stage(version=4)
def average(
    images: ImagesRef, models: tuple[ModelRef, ...], views: tuple[str, ...], again: ModelRef | None = None
) -> ModelRef:
    """All networks in one, the most expensive last; an answer costs as much as theirs for every view.

    `again`: the rung that was the average of these before they were trained again.
    """
    started = time.perf_counter()
    members = {f"{model.rung}_{n}": files.load(home() / model.path) for n, model in enumerate(models, 1)}
    blocks = {name: model.blocks for name, model in zip(members, models, strict=True)}
    network = ensembles.averaged(members, views, blocks)
    validation = batches_of(images, ("validation",), ("identity",))

    def logits() -> np.ndarray:
        found = fit.predict(network, validation, inference.BATCH)
        return np.log(np.maximum(found, np.finfo(np.float32).tiny))

    address = digest("averaged", models, views, again)
    return replace(
        models[-1],
        **saving.keep(address, network, logits, validation.labels, again),
        digest=address,
        rung="averaged",
        training=replace(models[-1].training, seconds=round(time.perf_counter() - started, 3)),
        origin=replace(
            models[-1].origin,
            tables=tuple(dict.fromkeys(table for model in models for table in model.origin.tables)),
            averages=tuple(model.rung for model in models),
        ),
    )
