"""Register: the model becomes a version in the registry, with everything that it needs to answer."""

from tasks.data import datasets, splits
from tasks.data.expectations import FACTS
from tasks.records import PREFIX, AuditRef, CalibrationRef, DatasetRef, ModelRef, Report, Verdict, VersionRef, digest
from tasks.runtime.home import home
from tasks.runtime.store import folders
from tasks.services import tracking
from tasks.services.orchestration.stage import stage
from tasks.services.registry import promotion, registration, versions
from tasks.serving import golden, package
from tasks.settings import Release


@stage(version=7, there=versions.exists)
def register(
    dataset: DatasetRef,
    audited: AuditRef,
    model: ModelRef,
    calibration: CalibrationRef,
    report: Report,
    verdict: Verdict,
    settings: Release,
) -> VersionRef:
    """A new version with alias `challenger`, or `champion` if the gates decided `promote` and need no approval."""
    name, images, promoted = settings.name, settings.images, settings.promotion
    address = digest("served", model, calibration, images.size, images.fit, images.max_pixels, dataset.classes)
    with folders.folder("served", address) as (working, path):
        package.write(working, home() / model.path, dataset.classes, images, calibration)
    predictions = folders.frame(report.predictions)
    with folders.folder("golden", digest("golden", report, promoted)) as (working, expected):
        golden.write(working / "golden", predictions, dataset.classes, promoted.golden, promoted.tolerance)
    tags = {
        "headstart.digest": model.digest,
        "headstart.data": dataset.digest,
        "headstart.backbone": "; ".join(f"{each.kind} {each.options or ''}".strip() for each in settings.backbones),
        "headstart.rung": model.rung,
        "headstart.gate": verdict.decision,
        "headstart.gate_reason": verdict.reason,
        "headstart.opponent": verdict.opponent,
        "headstart.tables": " ".join(model.origin.tables),
        "headstart.test_right": str(round(report.metrics["accuracy"] * dataset.counts["test"])),
        "headstart.test_images": str(dataset.counts["test"]),
    } | {f"headstart.gate.{result.gate}": result.outcome for result in verdict.gates}
    tags |= {versions.REFIT: str(settings.refit).lower(), versions.STARTED_FROM: model.origin.started_from}
    if settings.search:
        tags[versions.SEARCH] = settings.search
    every = datasets.rows(dataset).assign(unit=datasets.units(dataset, audited))
    of_source = [name for name in every if name.startswith(PREFIX)]
    rows = every[["key", "label", "group", "split", "unit", *FACTS, *of_source]]
    tracking.log_table(versions.DATA, rows)
    tracking.log_table(versions.TEST, predictions[["key", "uri", "label", "probabilities"]])
    seen = splits.remembered(rows.set_index("key")["split"], versions.splits_before(name))
    tracking.log_table(versions.SPLITS, seen.rename_axis("key").to_frame("split").reset_index())
    version = registration.add(name, home() / path, home() / expected / "golden", tags, dataset.classes)
    promotion.introduce(name, version, verdict.decision, verdict.reason, promoted.approval)
    return versions.refreshed(VersionRef(name, version, (), digest(name, version, model, calibration, verdict)))
