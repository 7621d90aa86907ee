"""Has a source changed since a run was last started for it? If so, start one run once all files have arrived."""

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.recipes import load
from tasks.data import sources
from tasks.runtime import escapes
from tasks.services.orchestration import events, triggers


@flow(name="watch", flow_run_name="watch {recipe}", validate_parameters=True, on_failure=[events.failed])
def watch(recipe: str, overrides: list[str] = []) -> str:  # noqa: B006
    """Check the source's files, sizes and times; start at most one run of `retrain` per burst of arrivals.

    Args:
        recipe: A shipped recipe's name, or the path of a TOML file.
        overrides: Settings such as retrain.settle=60.
    """
    checked = load(recipe, *overrides)

    def now() -> str:
        return sources.listing_digest(checked.source)

    before = triggers.handled(checked.name)
    if now() == before:
        return _reported(f"{checked.name}: nothing has changed")
    found = triggers.settled(now, checked.retrain.settle)
    if found == before:
        return _reported(f"{checked.name}: the changes were undone")
    return _reported(triggers.start(checked.name, f"retrain/{checked.name}", found, "new data"))


def _reported(sentence: str) -> str:
    create_markdown_artifact(escapes.markdown(sentence), description="Result of watching")
    return sentence
