"""Extract: the frozen backbone turns each prepared image into a vector, once, ever."""

from tasks import backbones, datasets, engines, plugins, store
from tasks.records import FeaturesRef, ImagesRef, digest
from tasks.settings import Backbone
from tasks.stage import stage
from tasks.training import networks


@stage(version=1)
def extract(images: ImagesRef, backbone: Backbone) -> FeaturesRef:
    """Features of every image of the data set that the table does not hold yet."""
    built = backbones.load(backbone, images.size)
    network = networks.pooled(built.model, backbone.pooling)
    shape = tuple(network.output_shape[1:])
    address = digest("features", built.weights, built.model.name, backbone.pooling, images.table)
    table = store.Table(f"features-{address}", shape, "float32")
    rows = [(key, "identity") for key in datasets.rows(images.dataset)["key"]]
    run = plugins.entry("engines", "tensorflow")(network)
    computed = engines.fill(table, rows, datasets.pixels(images), run, backbone.batch_size, "extract")
    return FeaturesRef(table.name, digest(images, table.name), shape, built.weights, computed)
