"""Does a source hold something else than when a run was last started for it? Then, once all has arrived, one run."""

from typing import Annotated

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from pydantic import Field

from flows.recipes import find
from tasks.data import sources
from tasks.services.orchestration import events, triggers
from tasks.settings import load


@flow(name="watch", flow_run_name="watch {recipe}", validate_parameters=True, on_failure=[events.failed])
def watch(
    recipe: Annotated[str, Field(description="A shipped recipe's name, or the path of a TOML file")],
    overrides: Annotated[list[str], Field(description="Settings such as retrain.settle=60")] = [],  # noqa: B006
) -> str:
    """Look at the source's files, sizes and times; start at most one run of `retrain` for a burst of arrivals."""
    checked = load(find(recipe), tuple(overrides))

    def now() -> str:
        return sources.listing_digest(checked.source)

    before = triggers.handled(checked.name)
    if now() == before:
        return _said(f"{checked.name}: nothing has changed")
    found = triggers.settled(now, checked.retrain.settle)
    if found == before:
        return _said(f"{checked.name}: what had changed is as it was")
    return _said(triggers.start(checked.name, f"retrain/{checked.name}", found, "new data"))


def _said(sentence: str) -> str:
    create_markdown_artifact(sentence, description="What watching led to")
    return sentence
