"""Learn: a point of a learning curve without transfer, a network from random weights trained on some images."""

import time

from tasks.data import subsets
from tasks.features.batches import jittered, repeated, subset, train_and_validation
from tasks.records import ImagesRef, PointRef, digest
from tasks.services.orchestration.stage import stage
from tasks.settings import Backbone, Images, Loss
from tasks.training import fit, from_scratch, saving


@stage(version=1)
def learn(
    images: ImagesRef,
    backbone: Backbone | None,
    epochs: int,
    loss: Loss,
    augment: Images,
    part: subsets.Part,
    seed: int,
) -> PointRef:
    """All of a network trained from pixels, each image in a random view each time; the best epoch's weights are scored.

    `backbone`: settings with random weights; None for a small CNN.
    """
    fit.seed_everything(seed)
    model = from_scratch.network(backbone, images.size, len(images.dataset.classes))
    every, validation = train_and_validation(images, ("identity",))
    chosen = subsets.rows(every.labels, part, seed)
    train = subset(jittered(every, augment.views, 0.0, seed), chosen, len(every.labels))
    started = time.perf_counter()
    plan = from_scratch.plan(epochs, loss, seed)
    history = fit.fit(model, repeated(train, from_scratch.EPOCH), validation.in_memory(), plan)
    seconds = time.perf_counter() - started
    address = digest("learn", images, backbone, epochs, loss, augment.views, part, seed)
    method = "scratch" if backbone else "small_cnn"
    return saving.point(address, method, len(chosen), images.size, seed, model, validation, history, seconds)
