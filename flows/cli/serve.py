"""Commands for the Prefect server: serve, deploy, notify, alerts."""

import os
from typing import Annotated

import typer

from flows.cli.arguments import Home, Overrides, RecipeName, Why, recipe_of
from flows.cli.session import session
from tasks.runtime.errors import without_secrets
from tasks.runtime.home import home as home_folder

Cron = Annotated[str | None, typer.Option("--cron", help='When to retrain, such as "0 3 * * *"')]
Watch = Annotated[
    float | None, typer.Option("--watch", help="Seconds between checks for new files [default: never check]")
]


def serve(
    recipes: Annotated[
        list[str] | None, typer.Argument(help="Recipes to retrain, or folders of them", metavar="[RECIPE]...")
    ] = None,
    overrides: Overrides = [],  # noqa: B006
    cron: Cron = None,
    watch: Watch = None,
    home: Home = None,
) -> None:
    """Serve retraining on a schedule and on new data, promotion, rollback and scoring, until interrupted.

    It uses the Prefect server that PREFECT_API_URL names, or starts its own if the variable is not set.
    """
    with session("serve", home) as s:
        from flows.deployments import servers

        with servers.prefect() as (address, password, server):
            from flows.deployments import alerts, runner
            from flows.deployments.definitions import everything
            from tasks.services import health

            found = everything(recipes or [], overrides, cron, watch)
            s.note(f"Prefect: {without_secrets(address)}/deployments")
            if password:
                s.note(f"Password for its pages: see {password}")
            s.note(f"MLflow: {servers.tracking_address()}")
            for warning in health.open_servers():
                s.note(f"Warning: {warning}")
            address_of_alerts = os.environ.get(alerts.VARIABLE)
            s.note(f"Alert: {alerts.watch_over()}")
            # On a server of several people, whoever serves without an address leaves the alerts of others as they are.
            for name in alerts.install(address_of_alerts) if address_of_alerts or server else []:
                s.note(f"Alert: {name}")
            runner.until_interrupted(found, server, lambda name: s.note(f"{name} is served"))


def deploy(
    recipes: Annotated[list[str], typer.Argument(help="Recipes to retrain, or folders of them", metavar="RECIPE...")],
    pool: Annotated[str, typer.Option("--pool", help="The work pool whose workers run them")] = "headstart",
    overrides: Overrides = [],  # noqa: B006
    cron: Cron = None,
    watch: Watch = None,
    home: Home = None,
) -> None:
    """Deploy what `serve` serves to a work pool of the Prefect server that PREFECT_API_URL names.

    Workers read the recipes at the same paths.
    """
    with session("deploy", home) as s:
        _server_is_named()
        from flows.deployments.definitions import deploy, everything

        for name in deploy(everything(recipes, overrides, cron, watch), pool):
            s.say(f"{name} is deployed to the work pool {pool}.")


def notify(
    recipe: RecipeName,
    overrides: Overrides = [],  # noqa: B006
    why: Why = "new data was announced",
    home: Home = None,
) -> None:
    """Announce that a recipe's data have changed: its deployment then starts a run of `retrain`."""
    with session("notify", home) as s:
        checked = recipe_of(recipe, overrides)
        _server_is_named()
        from tasks.services.orchestration import events

        events.announce(checked.name, why)
        s.say(f"Announced: the data of {checked.name} have changed.")


def alerts(home: Home = None) -> None:
    """Make the Prefect server close runs whose process is gone, and call the webhook HEADSTART_WEBHOOK.

    It calls when a run fails or a verdict is undecided. Without HEADSTART_WEBHOOK it calls nobody any more: an address
    that the server keeps is deleted.
    """
    with session("alerts", home) as s:
        _server_is_named()
        from flows.deployments import alerts

        for name in (alerts.watch_over(), *alerts.install(os.environ.get(alerts.VARIABLE))):
            s.say(f"Alert: {name}")
        if not os.environ.get(alerts.VARIABLE):
            s.say(f"{alerts.VARIABLE} is not set, so nobody is told: set it to a webhook's address.")


def _server_is_named() -> None:
    """A server that a command starts for itself receives no events and sends no alerts."""
    from flows.deployments import own_server
    from tasks.runtime.errors import UsageError

    if not own_server.find():
        raise UsageError(
            f"Expected headstart serve to run with the home {home_folder()}, or PREFECT_API_URL to name a Prefect "
            "server, found neither."
        )
