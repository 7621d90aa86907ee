"""What Prefect's pages show of a run besides its states: tags, links, a table of stages, progress of long work."""

from functools import partial
from uuid import UUID

from prefect.artifacts import (
    create_link_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from tasks.records import StageLog
from tasks.services.background import Background

#: Tag of every run.
OURS = "headstart"
#: Seconds after which work shows its progress, and between two messages about it.
LONG, EVERY = 10.0, 5.0


def key(what: str, name: str) -> str:
    """A key of an artifact: Prefect takes lower-case letters, digits and dashes."""
    return f"{what}-" + "".join(c if c.isalnum() and c.isascii() else "-" for c in name.lower())


def tag(name: str) -> None:
    """Give the current run the recipe's or model's name, and `OURS`, as tags beside those that it has."""
    with get_client(sync_client=True) as client:
        client.update_flow_run(UUID(flow_run.id), tags=sorted({*flow_run.tags, OURS, name}))


def link(what: str, name: str, address: str) -> None:
    """Link a page from the current run; without an address it does nothing."""
    if address:
        create_link_artifact(address, what, key(what.lower().replace(" ", "-"), name), f"{what} of {name}")


def stages(name: str, done: dict[str, StageLog]) -> None:
    """The stages of the current run, with their seconds; without stages it does nothing."""
    if done:
        table = [
            {"stage": stage, "seconds": round(log.seconds, 1), "cached": log.cached} for stage, log in done.items()
        ]
        create_table_artifact(table, key("stages", name), f"Stages of {name}")


class Progress:
    """Shows how far the work of a stage is, if it is long."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.shown: UUID | None = None
        self.messages = Background(EVERY, LONG)

    def __call__(self, what: str, done: int, total: int) -> None:
        """Called by the work itself, whenever a part of it is done."""
        if self.messages.ready:
            self.messages.send(partial(self._show, what, 100 * done / total))

    def end(self) -> None:
        """Show that nothing is left."""
        self.messages.wait(EVERY)
        if self.shown:
            self.messages.send(partial(self._show, "done", 100.0))
            self.messages.wait(EVERY)

    def _show(self, what: str, share: float) -> None:
        if self.shown:
            update_progress_artifact(self.shown, share, f"{self.name}: {what}")
        else:
            self.shown = create_progress_artifact(share, key("progress", self.name), f"{self.name}: {what}")
