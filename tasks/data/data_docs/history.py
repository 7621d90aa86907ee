"""The project of Great Expectations in the home folder: what was expected of each recipe's data, and what was found.

It is an ordinary project, `HEADSTART_HOME/gx`: `gx.get_context(mode="file", project_root_dir=HOME)` opens it. It has
the suites and the checkpoint of each recipe by name, the results of all checks, and Data Docs over them. Actions that a
person adds to a recipe's checkpoint, such as a message to a channel, run after each check
(https://docs.greatexpectations.io/docs/core/trigger_actions_based_on_results/).
"""

import json
from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.data import data_docs
from tasks.data.data_docs.actions import run as run_actions
from tasks.runtime import locks, progress
from tasks.runtime.errors import brief, without_secrets

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite

#: The newest checks that the index lists.
MOST = 500


def keep(folder: Path, name: str, found: Mapping[str, tuple["ExpectationSuite", Any]]) -> None:
    """Keep the suites of a recipe and GX's results of them, by the suites' names, and run the recipe's actions.

    `folder`: the home. What goes wrong here is told, and stops nothing: the data have been checked.
    """
    try:
        with locks.alone(folder / "gx.lock", f"writing {folder / 'gx'}"):
            _keep(folder, name, found)
    except Exception as error:  # whatever a person's changes of the project lead to
        progress.say(f"The check is not in the history {folder / 'gx'}: {without_secrets(brief(error))}")


def _keep(folder: Path, name: str, found: Mapping[str, tuple["ExpectationSuite", Any]]) -> None:
    import great_expectations as gx
    from great_expectations.checkpoint.checkpoint import CheckpointResult
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )

    context: Any = gx.get_context(mode="file", project_root_dir=str(folder))
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_or_update_pandas(name).add_dataframe_asset("images")
    batch, definitions, rows, results = asset.add_batch_definition_whole_dataframe("all"), [], [], {}
    for each, (suite, result) in found.items():
        own = f"{name}.{each}"
        expectations = [one.copy(update={"id": None, "rendered_content": None}) for one in suite.expectations]
        kept = context.suites.add_or_update(gx.ExpectationSuite(name=own, expectations=expectations))
        definitions.append(
            context.validation_definitions.add_or_update(gx.ValidationDefinition(name=own, data=batch, suite=kept))
        )
        for at, outcome in result.run_results.items():
            key = ValidationResultIdentifier(ExpectationSuiteIdentifier(own), at.run_id, at.batch_identifier)
            named = copy(outcome)
            named.suite_name = own  # the pages link to it
            context.validation_results_store.add(key, named)
            rows.append(_row(name, each, at.run_id.run_time, outcome.statistics, key))
            results[key] = named
    there = {one.name: one for one in context.checkpoints.all()}
    actions = there[name].actions if name in there else []
    checkpoint = gx.Checkpoint(name=name, validation_definitions=definitions, actions=actions)
    checkpoint = context.checkpoints.add_or_update(checkpoint)
    pages = [page for key in results for page in (key, key.expectation_suite_identifier)]
    (address,) = context.build_data_docs(site_names=["local_site"], resource_identifiers=pages).values()
    _index(Path(address.removeprefix("file://")).parent, rows)
    result = CheckpointResult(run_id=next(iter(results)).run_id, run_results=results, checkpoint_config=checkpoint)
    for action, why in run_actions(context, actions, result).items():
        progress.say(f"The action {action} of the checkpoint {name} in {folder / 'gx'} failed: {why}")


def _row(name: str, suite: str, when: Any, counts: Mapping[str, Any], key: Any) -> dict[str, str]:
    held, all_of_them = counts["successful_expectations"], counts["evaluated_expectations"]
    return {
        "when": when.isoformat(timespec="seconds"),
        "recipe": name,
        "suite": suite,
        "hold": f"{held} of {all_of_them}",
        "page": "/".join(("validations", *key.to_tuple())) + ".html",
        "suite page": "/".join(("expectations", *name.split("."), suite)) + ".html",
    }


def _index(site: Path, rows: list[dict[str, str]]) -> None:
    """Replace the index, which is drawn by a script from another host, by one of the checks, the newest first."""
    file = site / "checks.json"
    every = [*reversed(rows), *(json.loads(file.read_text(encoding="utf-8")) if file.exists() else [])][:MOST]
    file.write_text(json.dumps(every), encoding="utf-8")
    table = [(row["when"], row["recipe"], row["suite"], data_docs.Link(row["hold"], row["page"])) for row in every]
    data_docs.write_index(
        site / "index.html",
        "Checks of data",
        "The newest first. Each opens the page of Great Expectations.",
        ("when", "recipe", "suite", "expectations that hold"),
        table,
    )
    pages = {row[page] for row in rows for page in ("page", "suite page")}
    data_docs.make_pages_offline([site / "index.html", *(site / page for page in sorted(pages))])
