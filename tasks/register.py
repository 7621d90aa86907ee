"""Register: the model becomes a version in the registry, with everything inside that it needs to answer."""

from tasks import registry, store
from tasks.home import home
from tasks.records import DatasetRef, ModelRef, Report, Verdict, VersionRef, digest
from tasks.serving import package
from tasks.settings import Backbone, Images
from tasks.stage import stage


@stage(version=1, there=registry.exists)
def register(
    dataset: DatasetRef,
    model: ModelRef,
    report: Report,
    verdict: Verdict,
    images: Images,
    backbone: Backbone,
    name: str,
) -> VersionRef:
    """A new version with alias `challenger`; `champion` instead, where the gates said `promote`."""
    address = digest("served", model, images.size, images.fit, images.max_pixels, dataset.classes)
    with store.folder("served", address) as (working, path):
        package.write(working, home() / model.path, dataset.classes, images)
    tags = {
        "headstart.digest": model.digest,
        "headstart.data": dataset.digest,
        "headstart.backbone": f"{backbone.kind} {backbone.options or ''}".strip(),
        "headstart.rung": model.rung,
        "headstart.gate": verdict.decision,
        "headstart.gate_reason": verdict.reason,
        "headstart.opponent": verdict.opponent,
        "headstart.tables": " ".join(model.tables),
    } | {f"headstart.gate.{result.gate}": "passed" if result.passed else "failed" for result in verdict.gates}
    version = registry.add(name, home() / path, tags, dataset.classes, report.metrics)
    if verdict.decision == "promote":
        registry.promote(name, version)
    return VersionRef(name, version, registry.aliases(name, version), digest(name, version, model, verdict))
