"""Gate: may this model replace the champion? Both are scored on the same test images, now."""

import numpy as np

from tasks import datasets, gates, registry, store
from tasks.gates import Scored
from tasks.records import ImagesRef, ModelRef, Report, Verdict, digest
from tasks.settings import Gates
from tasks.stage import stage


@stage(version=1, reads=lambda images, model, report, settings: registry.opponent(settings.model, model.digest))
def gate(images: ImagesRef, model: ModelRef, report: Report, settings: Gates) -> Verdict:
    """`promote` when every gate passes, else `keep`."""
    opponent = registry.opponent(settings.model, model.digest)
    rows, classes = datasets.rows(images.dataset, "test"), images.dataset.classes
    labels = datasets.labels(rows, classes)
    predictions = store.frame(report.predictions)
    challenger = Scored(labels, np.stack(predictions["probabilities"].to_list()), classes)
    champion = None
    if opponent:
        probabilities = registry.score(settings.model, opponent, list(rows["uri"]), classes)
        champion = Scored(labels, probabilities, classes)
    results = gates.run(settings.gates, challenger, champion)
    failed = [result for result in results if not result.passed]
    decision = "keep" if failed else "promote"
    reason = "; ".join(f"{result.gate}: {result.reason}" for result in failed or results)
    return Verdict(digest("verdict", model, report, settings, opponent), decision, reason, results, opponent)
