"""Gate: may this model replace the champion? Both are scored on the same test images, now."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from tasks.data import datasets, splits
from tasks.evaluation import gates, slices, test_set_budget
from tasks.evaluation.gates import Case
from tasks.networks import engines, files
from tasks.records import AuditRef, ImagesRef, ModelRef, Report, Verdict, digest
from tasks.runtime.home import home
from tasks.runtime.store import folders
from tasks.services import tracking
from tasks.services.orchestration.stage import stage
from tasks.services.registry import predict, registered_models, test_sets, versions
from tasks.settings import Gates


@stage(
    version=5,
    reads=lambda images, audited, model, report, settings: versions.identity(
        settings.model, registered_models.opponent(settings.model, model.digest)
    ),
)
def gate(images: ImagesRef, audited: AuditRef, model: ModelRef, report: Report, settings: Gates) -> Verdict:
    """`promote` when every gate passes, `keep` when one fails, else `undecided`."""
    opponent = registered_models.opponent(settings.model, model.digest)
    every, classes = datasets.rows(images.dataset), images.dataset.classes
    rows = datasets.rows(images.dataset, "test")
    worn = test_sets.worn(rows, tracking.stage_digest())
    level, following = (test_set_budget.level(settings.decision.significance, each) for each in (worn, worn + 1))
    address = digest("verdict", audited, model, report, settings, opponent)
    unit, tested = datasets.units(images.dataset, audited), (every["split"] == "test").to_numpy()
    case = Case(
        labels=datasets.labels(rows, classes),
        classes=classes,
        challenger=np.stack(folders.frame(report.predictions)["probabilities"].to_list()),
        level=level,
        next_level=following,
        power=settings.decision.power,
        test_share=float(tested.mean()),
        slices=slices.masks(slices.test_values(every, settings.slices)),
        latency=partial(_milliseconds, model, images, rows),
        seed=settings.seed,
        groups=unit[tested],
    )
    kept = ""
    if opponent:
        champion, known = predict.score(settings.model, opponent, datasets.contents(rows), classes)
        unseen = splits.unseen(every, unit, versions.data_of(settings.model, opponent))[tested]
        case, kept = replace(case, champion=champion, unseen=unseen, known=known), _keep(address, rows, champion)
    results = gates.run(settings.gates, case)
    decision, reason = gates.decide(results, case.test_share)
    test_sets.use(case, rows)
    return Verdict(address, decision, reason, results, opponent, kept, test_sets.identity(rows), worn, level)


def _keep(address: str, rows: pd.DataFrame, probabilities: np.ndarray) -> str:
    """Store the champion's answers, which the report compares with the challenger's; returns the path."""
    with folders.folder("verdicts", address) as (working, path):
        rows[["key"]].assign(probabilities=list(probabilities)).to_parquet(working / "champion.parquet")
    return f"{path}/champion.parquet"


def _milliseconds(model: ModelRef, images: ImagesRef, rows: pd.DataFrame) -> float:
    """Median time for one prepared image, after warm-up."""
    engine = engines.own(lambda: files.load(home() / model.path), home())
    return float(np.median(engines.milliseconds(engine, next(datasets.pixels(images, rows[:1], 1)))))
