"""Train head: new last layers, on the features that the frozen backbone has computed."""

from tasks import backbones, plugins, store, tracking
from tasks.records import FeaturesRef, ImagesRef, ModelRef, digest
from tasks.settings import Backbone, Head, Images
from tasks.stage import stage
from tasks.training import fit, networks, thaw


@stage(version=3)
def train_head(
    images: ImagesRef, features: FeaturesRef, backbone: Backbone, head: Head, augment: Images, seed: int
) -> ModelRef:
    """The backbone as it was, with a head fitted on the training features and stopped early on validation."""
    built = backbones.load(backbone, images.size)
    fit.seed_everything(seed)
    table = store.Table(features.table, features.shape, features.dtype)
    train, validation = (each.in_memory() for each in fit.pair(images, augment.views, table))
    options = plugins.bind("heads", head.kind, head.options, "head.options")
    model = plugins.entry("heads", head.kind)(features.shape, len(images.dataset.classes), **options)
    network = networks.classifier(networks.pooled(built, backbone.pooling), model)
    frozen = built.model.variables
    before = thaw.fingerprint(frozen)
    history = fit.fit(model, train, validation, fit.plan(head, seed))
    thaw.check_frozen(before, frozen)
    tracking.log_series("loss", history.loss)
    tracking.log_series("validation_loss", history.validation_loss)
    address = digest("head", images, features, backbone, head, augment.views, seed)
    with store.folder("models", address) as (working, path):
        networks.save(network, working / "network.keras")
    return ModelRef(
        path=f"{path}/network.keras",
        digest=address,
        rung="head",
        validation=fit.scores(fit.predict(model, validation), validation.labels),
        tables=(images.table, features.table),
        blocks=built.blocks,
        epochs=history.epochs,
        frozen_variables=len(frozen),
        trained_variables=len(model.trainable_variables),
    )
