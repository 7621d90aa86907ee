"""Train head: new last layers, on the features that the frozen backbone has computed."""

from typing import TYPE_CHECKING

from tasks import backbones, plugins, store, tracking
from tasks.records import FeaturesRef, ImagesRef, ModelRef, digest
from tasks.settings import Backbone, Head, Images, Loss
from tasks.stage import stage
from tasks.training import fit, networks, thaw

if TYPE_CHECKING:
    import keras


@stage(version=3)
def train_head(
    images: ImagesRef, features: FeaturesRef, backbone: Backbone, head: Head, loss: Loss, augment: Images, seed: int
) -> ModelRef:
    """The backbone as it was, with a head fitted on the training features and stopped early on validation."""
    built = backbones.load(backbone, images.size)
    fit.seed_everything(seed)
    table = store.Table(features.table, features.shape, features.dtype)
    train, validation = (each.in_memory() for each in fit.pair(images, augment.views, table))
    model = _head(head, features.shape, len(images.dataset.classes), train)
    network = networks.classifier(networks.pooled(built, backbone.pooling), model)
    frozen = built.model.variables
    before = thaw.fingerprint(frozen)
    history = fit.fit(model, train, validation, fit.plan(head, loss, seed)) if model.trainable else fit.History()
    thaw.check_frozen(before, frozen)
    tracking.log_series("loss", history.loss)
    tracking.log_series("validation_loss", history.validation_loss)
    address = digest("head", images, features, backbone, head, loss, augment.views, seed)
    with store.folder("models", address) as (working, path):
        name = networks.save(network, working)
    return ModelRef(
        path=f"{path}/{name}",
        digest=address,
        rung="head",
        validation=fit.scores(fit.predict(model, validation), validation.labels),
        tables=(images.table, features.table),
        blocks=built.blocks,
        epochs=history.epochs,
        frozen_variables=len(frozen),
        trained_variables=len(model.trainable_variables),
    )


def _head(settings: Head, shape: tuple[int, ...], classes: int, train: fit.Batches) -> "keras.Model":
    """The head to train, or one that has learned all it can from a look at the training features."""
    options = plugins.bind("heads", settings.kind, settings.options, "head.options")
    module = plugins.load("heads", settings.kind)
    if hasattr(module, "learn"):
        return module.learn(train.everything(), train.labels, classes, **options)
    return module.build(shape, classes, **options)
