"""Promotion and rollback as flows, for a deployment whose form a person fills in (`flows/deployments/definitions.py`).

`headstart promote` and `headstart rollback` call the same functions without a Prefect server.
"""

from typing import Annotated, Any

from prefect import flow, suspend_flow_run
from prefect.artifacts import create_markdown_artifact
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.input import RunInput
from pydantic import Field

from tasks.records import LedgerEntry
from tasks.runtime.errors import UsageError
from tasks.runtime.escapes import markdown
from tasks.services import environments
from tasks.services.orchestration import artifacts, events
from tasks.services.registry import promotion

#: Name of the deployments: `promote/headstart`, `rollback/headstart`.
DEPLOYMENT = "headstart"
#: Seconds to wait for an answer: 30 days.
PATIENCE = 30 * 24 * 3600

Version = Annotated[str, Field(pattern=r"^\d+$")]


class Approval(RunInput):
    """What a person is asked before a version becomes the champion."""

    approve: bool = Field(description="On: it becomes the champion. Off: nothing changes")
    who: str = Field("", description="Your name, for the ledger")
    why: str = Field("", description="The reason, for the ledger")


@flow(
    name="promote",
    flow_run_name="promote {name} {version}",
    validate_parameters=True,
    persist_result=True,
    on_failure=[events.failed],
)
def promote(
    name: str, version: Version, why: str = "", force: bool = False, ask: bool = False, to: str | None = None
) -> dict[str, Any]:
    """Make a version the champion; `headstart rollback` undoes it.

    Args:
        name: The registered model.
        version: The version's number.
        why: The reason, for the ledger.
        force: Even if it was compared with another champion.
        ask: Wait for a person's approval first.
        to: An environment, such as prod: copy the version there instead, if its gates pass against the champion there.
    """
    if to is not None:
        if ask:
            raise UsageError("to: expected no `ask` beside it: where the recipe asks for approval, the copy waits.")
        artifacts.tag(name)
        copied = environments.promote(name, version, to, why, force)
        if copied.champion:
            events.moved(copied.model, copied.version, copied.reason)
        return copied.summary()
    who = ""
    if ask:
        form = Approval.with_initial_data(description=promotion.verdict(name, version))
        answer = suspend_flow_run(wait_for_input=form, timeout=PATIENCE)
        if not answer.approve:
            return _reported(name, promotion.reject(name, version, answer.why, answer.who))
        who, why = answer.who, answer.why or why
    artifacts.tag(name)
    entry = promotion.promote(name, version, why, force, who)
    return (
        _reported(name, entry) if entry else {"action": "none", "version": version, "why": "it is the champion already"}
    )


@flow(
    name="rollback",
    flow_run_name="rollback {name}",
    validate_parameters=True,
    persist_result=True,
    on_failure=[events.failed],
)
def rollback(name: str, why: str = "") -> dict[str, Any]:
    """Make the previous champion the champion again.

    Args:
        name: The registered model.
        why: The reason, for the ledger.
    """
    artifacts.tag(name)
    return _reported(name, promotion.rollback(name, why))


def ask(name: str, version: str) -> bool:
    """Start one run of the deployment, which waits for a person; False if the server has no such deployment."""
    values, once = {"name": name, "version": version, "ask": True}, f"ask {name} {version}"
    try:
        run_deployment(f"promote/{DEPLOYMENT}", parameters=values, timeout=0, as_subflow=False, idempotency_key=once)
    except ObjectNotFound:
        return False
    return True


def _reported(name: str, entry: LedgerEntry) -> dict[str, Any]:
    lines = [f"| {key} | {markdown(str(value))} |" for key, value in entry.summary().items()]
    table = "\n".join(["| | |", "|---|---|", *lines])
    if entry.after != entry.before:
        events.moved(name, entry.after, entry.why)
    create_markdown_artifact(table, description=f"Entry {entry.number} of the ledger")
    return entry.summary()
