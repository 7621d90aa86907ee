"""Search: which features suit the data, by cross-validation on a sample of the training images."""

import time
from functools import partial

from tasks.features.searching import Search
from tasks.features.sides import by_rules
from tasks.networks import backbones
from tasks.records import DatasetRef, SearchRef, digest
from tasks.reports.sections import ranking as csv
from tasks.reports.sections import search as report
from tasks.services import tracking
from tasks.services.orchestration.stage import stage
from tasks.settings import FeatureSearch


def _weights(dataset: DatasetRef, settings: FeatureSearch, asked: str) -> list[str]:
    return [backbones.weights_or_why(network) for network in (settings.backbone, *settings.networks)]


@stage(version=2, reads=_weights)
def search(dataset: DatasetRef, settings: FeatureSearch, asked: str) -> SearchRef:
    """What was tried within the settings' time, and the settings of the best; `asked`: see `SearchRef`."""
    of = sum(dataset.counts.values())
    if not settings.sample:
        chosen = by_rules(dataset, settings)
        address = digest("search", dataset, settings)
        return SearchRef(address, (), chosen, 0, 0.0, 0.0, "the time is short", asked, of, dataset.classes)
    began = time.time()
    found = Search(dataset, settings)
    reason = found.run()
    tracking.log_trials("search", found.trials, began)
    ref = SearchRef(
        digest=digest("search", dataset, settings, found.chosen(), [trial.name for trial in found.trials]),
        trials=tuple(found.trials),
        chosen=found.chosen(),
        images=len(found.rows),
        seconds=round(time.time() - began, 3),
        features_seconds=round(found.features_seconds, 1),
        reason=reason,
        asked=asked,
        of=of,
        classes=dataset.classes,
    )
    tracking.log_drawn("search.csv", partial(csv.write, report.trials(ref)))
    return ref
