"""Deployments: retraining of recipes on a schedule and on new data, and forms that people fill in.

`headstart serve` serves them, `headstart deploy` deploys them to a work pool. Entry points are modules, since a path
would import `flows` under another name.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from prefect._internal.versioning import VersionType
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger
from prefect.exceptions import ObjectNotFound
from prefect.flows import EntrypointType

from flows.promote import DEPLOYMENT, promote, rollback
from flows.recipes import each
from flows.retrain import retrain
from flows.score import score
from flows.watch import watch
from tasks.runtime.errors import UsageError
from tasks.runtime.store import remote
from tasks.services.orchestration import events
from tasks.services.orchestration.artifacts import OURS
from tasks.settings import load

MODULE = EntrypointType.MODULE_PATH
#: A deployment's version is not git's: Prefect would ask git, which runs programs that a folder's configuration names.
SIMPLE = VersionType.SIMPLE


def everything(
    recipes: Iterable[str], overrides: list[str], cron: str | None, every: float | None
) -> list[RunnerDeployment]:
    """`promote`, `rollback`, `score`; for each recipe `retrain`, and `watch` each `every` seconds unless it is None.

    A folder stands for the recipes in it. Raises `UsageError` for two recipes of one name: of their deployments, which
    are named after them, the server would keep one.
    """
    found = [
        flow.to_deployment(DEPLOYMENT, tags=[OURS], entrypoint_type=MODULE, version_type=SIMPLE)
        for flow in (promote, rollback, score)
    ]
    named: dict[str, Path] = {}
    for file in each(recipes):
        made = _of_recipe(file, overrides, cron, every)
        name = str(made[0].name)
        if named.setdefault(name, file) != file:
            raise UsageError(
                f"Expected recipes with different names, found {name!r} in {named[name]} and in {file}. Change the "
                "name in one of them."
            )
        found += made
    return found


def deploy(deployments: Iterable[RunnerDeployment], pool: str) -> Iterator[str]:
    """Make the deployments on the server that `PREFECT_API_URL` names, for workers of a pool; yields their names.

    A deployment of the same name is replaced. Raises `UsageError` if there is no such pool.
    """
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(pool)
        except ObjectNotFound:
            raise UsageError(
                f"--pool: expected a work pool of the Prefect server, found no {pool!r}. Create it: prefect work-pool "
                f"create {pool!r} --type process."
            ) from None
    for one in deployments:
        # A worker's process starts in its own folder, whose `flows` and `tasks` may be somebody else's.
        one.job_variables = {"env": {"PYTHONSAFEPATH": "1"}}
        one.apply(work_pool_name=pool)
        yield f"{one.flow_name}/{one.name}"


def _whole_paths(options: Mapping[str, Any]) -> Iterator[str]:
    """Overrides that name a source's files from any folder: a worker starts each run in one of its own."""
    for name in ("path", "root"):
        value = options.get(name)
        if isinstance(value, str) and not remote.scheme(value) and value != str(remote.place(value, name)):
            yield f"source.options.{name}={json.dumps(str(remote.place(value, name)))}"


def _of_recipe(file: Path, overrides: list[str], cron: str | None, every: float | None) -> list[RunnerDeployment]:
    checked = load(file, tuple(overrides))
    name, overrides = checked.name, [*overrides, *_whole_paths(checked.source.options)]
    parameters = {"recipe": str(file.absolute()), "overrides": overrides}
    announced = DeploymentEventTrigger(
        name=f"new data of {name}",
        expect={events.EVENT},
        match={"prefect.resource.id": f"{events.RESOURCE}{name}"},
        parameters={**parameters, "why": "new data was announced"},
    )
    if cron:
        try:
            CronSchedule(cron=cron)
        except ValueError:
            raise UsageError(f'--cron: expected five fields such as "0 3 * * *", found {cron!r}.') from None
    retraining = retrain.to_deployment(
        name,
        cron=cron,
        tags=[OURS, name],
        parameters=parameters | {"why": "the schedule" if cron else "a person"},
        triggers=[announced],
        concurrency_limit=1,  # the next waits
        entrypoint_type=MODULE,
        version_type=SIMPLE,
    )
    if every is None:
        return [retraining]
    once = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
    watching = watch.to_deployment(
        name,
        interval=every,
        tags=[OURS, name],
        parameters=parameters,
        concurrency_limit=once,
        entrypoint_type=MODULE,
        version_type=SIMPLE,
    )
    return [retraining, watching]
