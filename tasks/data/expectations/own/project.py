"""A project of Great Expectations on disk: its suites run on the table of facts, then the actions of its checkpoints.

The project keeps the results and what its actions write (Data Docs and others); all else is put back as it was. Custom
code of the project runs, as it does under Great Expectations itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.data.data_docs.actions import run as run_actions
from tasks.data.expectations import RESULTS, Check, Finding, findings_of
from tasks.runtime import locks
from tasks.runtime.errors import UsageError, brief
from tasks.runtime.store.writing import replacing
from tasks.settings import PROJECT

#: What is added to the project while it runs.
NAME = "headstart"


def run(folder: Path, names: tuple[str, ...], table: pd.DataFrame) -> list[Finding]:
    """The findings of the named suites, or of all, and a warning for each action that failed.

    Raises `UsageError` if the project cannot be opened, or does not have these suites.
    """
    import great_expectations as gx

    try:
        context = gx.get_context(mode="file", context_root_dir=str(folder))
        suites = {suite.name: suite for suite in context.suites.all()}
        actions = _actions(context)
        if NAME in context.data_sources.all():  # of a process that was killed
            context.data_sources.delete(NAME)
    except Exception as error:  # whatever the files of another version lead to
        raise UsageError(
            f"validation.context: expected a project of Great Expectations {gx.__version__} in {folder}, but it "
            f"cannot be opened: {brief(error)}."
        ) from None
    config = folder / PROJECT
    before = ours = config.read_bytes()
    try:
        unknown = [name for name in names if name not in suites]
        if unknown or not suites:
            wanted = f"a suite {unknown[0]}" if unknown else "suites"
            raise UsageError(
                f"validation.context: expected {wanted} in {folder}. There are: {', '.join(suites) or 'none'}."
            )
        context.variables.progress_bars = {"globally": False}
        try:
            result = _evaluated(context, [suites[name] for name in names or suites], table)
        finally:
            ours = config.read_bytes()
        found = [
            finding
            for each in result.run_results.values()
            for finding in findings_of(
                each.results,
                Check(
                    f"context_{each.suite_name}",
                    table,
                    "uri",
                    [],
                    f"validation.context: suite {each.suite_name} of {folder}",
                ),
            )
        ]
        failed = run_actions(context, actions, result)
        return found + [
            Finding(False, False, f"The action {name} of validation.context runs; found {why}")
            for name, why in failed.items()
        ]
    finally:
        if config.read_bytes() == ours != before:  # else a person has changed it meanwhile
            with replacing(config) as working:
                working.write_bytes(before)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Inside, no other process works with the project: what is added to it for a moment is nobody else's."""
    with locks.alone(folder / "uncommitted" / "headstart.lock", f"checking data with {folder}"):
        yield


def _actions(context: Any) -> list[Any]:
    """The actions of all checkpoints, each once; those that update Data Docs first, as others send links to them."""
    import great_expectations as gx

    found: list[Any] = []
    for checkpoint in context.checkpoints.all():
        found += [action for action in checkpoint.actions if action not in found]
    return sorted(found, key=lambda action: not isinstance(action, gx.checkpoint.UpdateDataDocsAction))


def _evaluated(context: Any, suites: list[Any], table: pd.DataFrame) -> Any:
    """The result of a checkpoint that exists only as long as it runs."""
    import great_expectations as gx

    asset = context.data_sources.add_or_update_pandas(NAME).add_dataframe_asset("images")
    batch = asset.add_batch_definition_whole_dataframe("all")
    definitions = [gx.ValidationDefinition(name=f"{NAME}_{suite.name}", data=batch, suite=suite) for suite in suites]
    try:
        added = [context.validation_definitions.add_or_update(definition) for definition in definitions]
        checkpoint = gx.Checkpoint(
            name=NAME, validation_definitions=added, result_format=RESULTS | {"unexpected_index_column_names": ["uri"]}
        )
        return context.checkpoints.add_or_update(checkpoint).run(batch_parameters={"dataframe": table})
    finally:
        for store, made in (
            (context.checkpoints, [NAME]),
            (context.validation_definitions, [definition.name for definition in definitions]),
        ):
            there = {each.name for each in store.all()}
            for name in there & set(made):
                store.delete(name)
