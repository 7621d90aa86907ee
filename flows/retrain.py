"""Is there something new, and does it pay to train on it? Then train; the gates and promotion are those of any run."""

from typing import Annotated

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from pydantic import Field

from flows.parts.backbone import with_backbone
from flows.parts.extraction import extract_in_shards
from flows.recipes import find
from flows.train import train
from tasks.data import corrections
from tasks.networks import backend
from tasks.records import NewsRef, Retraining, WeighedRef
from tasks.services import tracking
from tasks.services.orchestration import events, monitoring
from tasks.settings import Recipe, load
from tasks.stages.data.ingest import ingest
from tasks.stages.data.preprocess import preprocess
from tasks.stages.data.validate import validate
from tasks.stages.features.extract import extract
from tasks.stages.retraining.assess_changes import weigh
from tasks.stages.retraining.detect_changes import look


@flow(name="retrain", flow_run_name="retrain {recipe}", validate_parameters=True, on_failure=[events.failed])
def retrain(
    recipe: Annotated[str, Field(description="A shipped recipe's name, or the path of a TOML file")],
    overrides: Annotated[list[str], Field(description="Settings such as head.options.units=256")] = [],  # noqa: B006
    why: Annotated[str, Field(description="What has it look: a schedule, new data, a person")] = "a person",
) -> Retraining:
    """Look at the data; train where enough is new and it pays, and say why or why not."""
    checked = load(find(recipe), tuple(overrides))
    backend.use(checked.backend)
    with monitoring.run(checked.name, "retrain", {"why": why} | checked.model_dump(), checked.observe):
        news, weighed = _decided(checked)
        found = weighed or news
        tracking.log_result({tracking.RETRAIN: found.decision, "headstart.reason": found.reason}, {})
    said = f"{checked.name}: {found.decision}. {found.reason}. It was looked at because of: {why}."
    create_markdown_artifact(said, description="What a look at the data led to")
    outcome = train(checked) if found.decision == "train" else None
    return Retraining(checked.name, found.decision, found.reason, why, news, weighed, outcome)


def _decided(r: Recipe) -> tuple[NewsRef, WeighedRef | None]:
    facts = ingest(r.source, r.split, r.images, corrections.of(r.name))
    dataset = validate(facts, r.validation)
    news = look(dataset, r.retrain, r.name)
    if news.decision:
        return news, None
    images = preprocess(dataset, r.images)
    r, _ = with_backbone(r, images)
    extract_in_shards(images, r)
    features = extract(images, r.backbone, r.extract, r.images, r.backend, r.ladder.refit, cut=r.cut)
    return news, weigh(images, features, news, r.retrain, r.name, r.seed)
