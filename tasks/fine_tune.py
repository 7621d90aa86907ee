"""Fine-tune: from the trained head, train the backbone's last blocks too; keep what validation says is better.

Linear probing, then fine-tuning: Kumar et al. 2022, https://arxiv.org/abs/2202.10054. With a cached trunk the frozen
blocks below the cut see each fixed view of an image once, and only the blocks above run in every epoch; with a live
trunk the whole network runs from pixels, which can then be changed at random.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from tasks import engines, features, store, tracking
from tasks.backend import current
from tasks.errors import UsageError
from tasks.home import home
from tasks.records import ImagesRef, ModelRef, digest
from tasks.settings import Backbone, Extract, FineTune, Images, Loss
from tasks.stage import stage
from tasks.training import fit, networks, strategy, thaw

if TYPE_CHECKING:
    import keras

#: What crosses the cut is stored with 11 bits of precision: half the space, a relative error of 5e-4.
CROSSING = "float16"


@stage(version=3)
def fine_tune(
    images: ImagesRef,
    head: ModelRef,
    backbone: Backbone,
    settings: FineTune,
    loss: Loss,
    extract: Extract,
    augment: Images,
    seed: int,
) -> ModelRef:
    """The fine-tuned network where its validation loss is lower than the head-only network's, else that one."""
    if not settings.enabled:
        return head
    with strategy.scope(settings.strategy):
        network = networks.load(home() / head.path)
        trunk, top = networks.cut(network, boundary(head.blocks, settings.blocks))
        logits = networks.to_logits(network)
    thaw.freeze(trunk)
    thaw.thaw(top)
    tables = head.tables
    if settings.trunk == "cached":
        table = activations(images, trunk, extract, augment)
        model, (train, validation) = top, fit.pair(images, augment.views, table)
        tables += (table.name,)
    else:
        model, (train, validation) = logits, live(images, settings, augment, seed)
    fit.seed_everything(seed)
    frozen = thaw.frozen_variables(network)
    before = thaw.fingerprint(frozen)
    history = fit.fit(model, train, validation, fit.plan(settings, loss, seed))
    thaw.check_frozen(before, frozen)
    tracking.log_series("loss", history.loss)
    tracking.log_series("validation_loss", history.validation_loss)

    tuned = ModelRef(
        path="",
        digest=digest("fine_tune", head, backbone, settings, loss, augment, seed),
        rung="fine_tune",
        validation=fit.scores(fit.predict(model, validation), validation.labels),
        tables=tables,
        blocks=head.blocks,
        epochs=history.epochs,
        frozen_variables=len(frozen),
        trained_variables=len(model.trainable_variables),
    )
    if tuned.validation["log_loss"] >= head.validation["log_loss"]:
        return head
    with store.folder("models", tuned.digest) as (working, path):
        name = networks.save(network, working)
    return replace(tuned, path=f"{path}/{name}")


def activations(images: ImagesRef, trunk: "keras.Model", extract: Extract, augment: Images) -> store.Table:
    """What crosses the cut for the training images' views and the validation images, computed where it is missing."""
    weights = thaw.fingerprint(trunk.variables)
    address = digest("trunk", weights, trunk.output.name, trunk.output_shape, images.size, current())
    engine = engines.start(extract.engine, lambda: trunk, home() / "store" / "engines" / address, images.size)
    tracking.log_tag("headstart.engine", f"{engine.name}: {engine.reason}")
    table = store.Table(f"activations-{digest(address, images.table, CROSSING)}", engine.shape, CROSSING)
    views = {"train": augment.views, "validation": ("identity",), "test": ()}
    features.fill(table, images, views, engine, extract.batch_size, "activations")
    return table


def live(images: ImagesRef, settings: FineTune, augment: Images, seed: int) -> tuple[fit.Batches, fit.Batches]:
    """Training and validation rows as pixels; with `settings.jitter`, each time a random view in another light."""
    if not settings.jitter:
        return fit.pair(images, augment.views)
    train, validation = fit.pair(images, ("identity",))
    return fit.jittered(train, augment.views, settings.jitter, seed), validation


def boundary(blocks: tuple[str, ...], last: int) -> str:
    """Name of the layer below which nothing is trained; `UsageError` when there are not that many blocks."""
    if last >= len(blocks):
        most = f"expected at most {len(blocks) - 1}" if len(blocks) > 1 else "expected fine_tune.enabled = false"
        raise UsageError(f"fine_tune.blocks: {most} for this backbone, found {last}.")
    return blocks[-last - 1]
