"""The DAG: photos in, a registered and judged model version out."""

import time

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.parts.backbone import reviewed, with_backbone
from flows.parts.extraction import checked, extracted
from flows.parts.head_search import with_head
from flows.parts.ladder import climb, refitted
from flows.parts.search import with_choices, with_races
from flows.promote import ask
from tasks.data import corrections, datasets
from tasks.evaluation import slices
from tasks.networks import backend
from tasks.records import DatasetRef, Findings, Outcome
from tasks.reports.outcome import markdown
from tasks.runtime import escapes, plugins
from tasks.services import tracking
from tasks.services.orchestration import artifacts, events, monitoring
from tasks.services.registry import registration, signing, versions
from tasks.settings import Recipe
from tasks.stages.data.audit import audit
from tasks.stages.data.ingest import ingest
from tasks.stages.data.preprocess import preprocess
from tasks.stages.data.validate import validate
from tasks.stages.evaluation.calibrate import calibrate
from tasks.stages.evaluation.evaluate import evaluate
from tasks.stages.evaluation.gate import gate
from tasks.stages.features.check_transfer import check_transfer
from tasks.stages.release.publish import publish
from tasks.stages.release.register import register


@flow(name="train", flow_run_name="train {recipe.name}", validate_parameters=True)
def train(recipe: Recipe, repeat: bool = False) -> Outcome:
    """Run one recipe; stages whose inputs have not changed are taken from the cache.

    `repeat`: what a search chose for the newest version is chosen again, while that holds, and training that goes on
    from the champion is a rung of the ladder.
    """
    r, started = recipe, time.perf_counter()
    plugins.use(r.plugins)
    backend.use(r.backend)
    signing.check_keys(r.name)
    registration.check_name(r.name)
    with monitoring.run(r.name, "train", r.model_dump(), r.observe) as run:
        facts = ingest(r.source, r.images, r.labels, corrections.from_corrections(r.name))
        dataset = validate(facts, r.split, r.validation, r.name)
        slices.check(datasets.rows(dataset), r.slices)
        r, search = with_choices(r, dataset, repeat)
        r, ranking = with_backbone(r, dataset)
        images = preprocess(dataset, r.images)
        r, tuned = with_head(r, images)
        features = extracted(r, images)
        audited = audit(images, features, r.audit, r.name, r.seed)
        ladder = climb(images, features, audited, r, started, repeat)
        r, search = with_races(r, search, ladder)
        agreement = reviewed(r, ranking, images, ladder)
        model = refitted(images, features, audited, r, ladder)
        transfer_check = check_transfer.labelled("transfer_check")
        transfer = transfer_check(images, features, audited, r.extraction, r.transfer_check, r.seed)
        calibration = calibrate(images, features, audited, model, r.calibration)
        report = evaluate(images, features, audited, model, calibration, ladder, r.evaluation)
        verdict = gate(images, audited, model, report, r.judging)
        release = r.release(model.rung, search.memory if search else "")
        version = register(dataset, audited, model, calibration, report, verdict, release)
        version = versions.refreshed(version)
        findings = Findings(
            dataset=dataset,
            model=model,
            ladder=ladder,
            transfer=transfer,
            calibration=calibration,
            report=report,
            verdict=verdict,
            version=version,
            search=search,
            ranking=ranking,
            tuned=tuned,
            audit=audited,
        )
        registration.score(version, dataset, {"test": report.metrics, "validation": model.validation.scores})
        page = publish(findings, images, r, stages=dict(run.stages))
        if version.note:
            ask(version.name, version.version)
        if not run.stages["register"].cached and "champion" in version.aliases:
            events.moved(version.name, version.version, verdict.reason)
        if verdict.decision == "undecided":
            events.undecided(version.name, version.version, verdict.reason)
        outcome = Outcome(
            **vars(findings),
            run_id=run.id,
            page=page,
            stages=run.stages,
            seconds=time.perf_counter() - started,
            agreement=agreement,
            recipe=r.model_dump(mode="json", exclude_unset=True, exclude_none=True),
        )
        tracking.describe(markdown(outcome))
        artifacts.link("Report", r.name, tracking.page("report.html"))
    create_markdown_artifact(markdown(outcome), artifacts.key("outcome", r.name), f"Outcome of {r.name}")
    return outcome


@flow(name="check", flow_run_name="check {recipe.name}", validate_parameters=True)
def check(recipe: Recipe) -> DatasetRef:
    """Ingest and validate only."""
    plugins.use(recipe.plugins)
    with monitoring.run(recipe.name, "check", recipe.model_dump(), recipe.observe):
        dataset = checked(recipe)
        found = ", ".join(f"{images:,} {split}" for split, images in dataset.counts.items())
        tracking.describe(escapes.markdown(f"The data of {recipe.name} can be trained on: {found} images."))
        return dataset
