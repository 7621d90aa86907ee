"""Fine-tune: from the trained head, train the backbone's last blocks too; keep what validation says is better.

Linear probing, then fine-tuning: Kumar et al. 2022, https://arxiv.org/abs/2202.10054. The frozen blocks below the cut
see each fixed view of an image once; only the blocks above run in every epoch.
"""

from dataclasses import replace

from tasks import backbones, datasets, engines, plugins, store, tracking
from tasks.errors import UsageError
from tasks.home import home
from tasks.records import ImagesRef, ModelRef, digest
from tasks.settings import Backbone, FineTune, Images
from tasks.stage import stage
from tasks.training import fit, networks, thaw


@stage(version=1)
def fine_tune(
    images: ImagesRef, head: ModelRef, backbone: Backbone, settings: FineTune, views: Images, seed: int
) -> ModelRef:
    """The fine-tuned network where its validation loss is lower than the head-only network's, else that one."""
    if not settings.enabled:
        return head
    network = networks.load(home() / head.path)
    trunk, top = networks.cut(network, boundary(backbone, settings, images.size))
    fit.seed_everything(seed)
    train_rows, validation_rows = (datasets.rows(images.dataset, split) for split in ("train", "validation"))
    shape = tuple(trunk.output_shape[1:])
    address = digest("activations", images.table, thaw.fingerprint(trunk.variables), trunk.output.name)
    table = store.Table(f"activations-{address}", shape, "float16")
    wanted = [(key, view) for key in train_rows["key"] for view in views.views]
    wanted += [(key, "identity") for key in validation_rows["key"]]
    run = plugins.entry("engines", "tensorflow")(trunk)
    engines.fill(table, wanted, datasets.pixels(images), run, backbone.batch_size, "activations")

    classes = images.dataset.classes
    train = fit.of_table(train_rows, datasets.labels(train_rows, classes), table, views.views)
    validation = fit.of_table(validation_rows, datasets.labels(validation_rows, classes), table)
    thaw.freeze(trunk)
    thaw.thaw(top)
    frozen = thaw.frozen_variables(network)
    before = thaw.fingerprint(frozen)
    history = fit.fit(top, train, validation, fit.plan(settings, seed))
    thaw.check_frozen(before, frozen)
    tracking.log_series("loss", history.loss)
    tracking.log_series("validation_loss", history.validation_loss)

    tuned = ModelRef(
        path="",
        digest=digest("fine_tune", head, backbone, settings, views.views, seed),
        rung="fine_tune",
        validation=fit.scores(fit.predict(top, validation), validation.labels),
        epochs=history.epochs,
        frozen_variables=len(frozen),
        trained_variables=len(top.trainable_variables),
    )
    if tuned.validation["log_loss"] >= head.validation["log_loss"]:
        return head
    with store.folder("models", tuned.digest) as (working, path):
        networks.save(network, working / "network.keras")
    return replace(tuned, path=f"{path}/network.keras")


def boundary(backbone: Backbone, settings: FineTune, size: int) -> str:
    """Name of the layer below which nothing is trained; `UsageError` when there are not that many blocks."""
    blocks = backbones.load(backbone.model_copy(update={"weights": "random"}), size).blocks
    if settings.blocks >= len(blocks):
        raise UsageError(
            f"fine_tune.blocks: expected at most {len(blocks) - 1} for {backbone.kind}, found {settings.blocks}."
        )
    return blocks[-settings.blocks - 1]
