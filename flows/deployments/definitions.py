"""What `headstart serve` serves: retraining of recipes on a schedule and on new data, and forms that people fill in.

`prefect.yaml` names the same deployments for a work pool. Entry points are modules, since a path would import `flows`
under another name.
"""

from collections.abc import Iterable

from prefect._internal.versioning import VersionType
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger
from prefect.flows import EntrypointType

from flows.promote import DEPLOYMENT, promote, rollback
from flows.recipes import find
from flows.retrain import retrain
from flows.score import score
from flows.watch import watch
from tasks.runtime.errors import UsageError
from tasks.services.orchestration import events
from tasks.settings import load

MODULE = EntrypointType.MODULE_PATH
#: A deployment's version is not git's: Prefect would ask git, which runs programs that a folder's configuration names.
SIMPLE = VersionType.SIMPLE


def everything(
    recipes: Iterable[str], overrides: list[str], cron: str | None, every: float | None
) -> list[RunnerDeployment]:
    """`promote`, `rollback`, `score`; for each recipe `retrain`, and `watch` each `every` seconds unless it is None."""
    found = [
        each.to_deployment(DEPLOYMENT, entrypoint_type=MODULE, version_type=SIMPLE)
        for each in (promote, rollback, score)
    ]
    for recipe in recipes:
        found += _of_recipe(recipe, overrides, cron, every)
    return found


def _of_recipe(recipe: str, overrides: list[str], cron: str | None, every: float | None) -> list[RunnerDeployment]:
    file = find(recipe)
    name, parameters = load(file, tuple(overrides)).name, {"recipe": str(file.absolute()), "overrides": overrides}
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
        parameters=parameters,
        concurrency_limit=once,
        entrypoint_type=MODULE,
        version_type=SIMPLE,
    )
    return [retraining, watching]
