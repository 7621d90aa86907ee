"""Are there new data, and is it worth training on them? If so, train; gates and promotion work as in any run."""

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.parts.extraction import checked, prepared
from flows.recipes import load
from flows.train import train
from tasks.networks import backend
from tasks.records import AssessmentRef, ChangesRef, Retraining
from tasks.runtime import escapes
from tasks.services import tracking
from tasks.services.orchestration import events, monitoring
from tasks.settings import Recipe
from tasks.stages.data.audit import audit
from tasks.stages.retraining.assess_changes import assess_changes
from tasks.stages.retraining.detect_changes import detect_changes


@flow(name="retrain", flow_run_name="retrain {recipe}", validate_parameters=True, on_failure=[events.failed])
def retrain(recipe: str, overrides: list[str] = [], why: str = "a person") -> Retraining:  # noqa: B006
    """Check the data; train if enough is new and worth it, and report why or why not.

    Args:
        recipe: A shipped recipe's name, or the path of a TOML file.
        overrides: Settings such as head.options.units=256.
        why: Why it runs, such as the schedule, new data, or a person.
    """
    r = load(recipe, *overrides)
    backend.use(r.backend)
    with monitoring.run(r.name, "retrain", {"why": why} | r.model_dump(), r.observe):
        changes, assessment = _decided(r)
        found = assessment or changes
        message = escapes.markdown(f"{r.name}: {found.decision}. {found.reason}. Reason for this check: {why}.")
        tracking.describe(message)
        tracking.log_result({tracking.RETRAIN: found.decision, "headstart.reason": found.reason}, {})
    create_markdown_artifact(message, description="Result of the data check")
    outcome = train(r, repeat=True) if found.decision == "train" else None
    return Retraining(r.name, found.decision, found.reason, why, changes, assessment, outcome)


def _decided(r: Recipe) -> tuple[ChangesRef, AssessmentRef | None]:
    dataset = checked(r)
    changes = detect_changes(dataset, r.retrain, r.name)
    if changes.decision:
        return changes, None
    r, images, features = prepared(r, dataset)
    audited = audit(images, features, r.audit, r.name, r.seed)
    return changes, assess_changes(images, features, audited, changes, r.retrain, r.name, r.seed)
