"""Requirements on the data, as Great Expectations suites.

A suite has `suite(case) -> list[Check]`: tables made of the facts, and the expectations on each. Failed critical
expectations stop a run, failed warnings do not (https://docs.greatexpectations.io/docs/core/introduction/).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from tasks.data import data_docs
from tasks.data.data_docs import history as project  # a plugin here is called history
from tasks.runtime.errors import UsageError, brief
from tasks.runtime.home import home

if TYPE_CHECKING:
    from tasks.settings import Validation

EXAMPLES = 5
RESULTS = {"result_format": "SUMMARY", "partial_unexpected_count": EXAMPLES}
#: What is known of pictures without looking at them, with the units; a version keeps it for the next comparison.
FACTS = {
    "brightness": "0 to 1",
    "contrast": "0 to 1",
    "sharpness": "variance of the Laplacian",
    "width": "pixels",
    "height": "pixels",
}


def fix(text: str) -> dict[str, str]:
    """The `meta` of an expectation that says what to do where it fails."""
    return {"fix": text}


@dataclass(frozen=True)
class Case:
    """What suites look at: one row per image, with uri, label, group, split, key, facts, and error if it is set aside.

    `before`: key, label and, in newer versions, facts of each image of the last accepted data set of the same model
    that is not this one; None if there is none. `rare`: classes that are set aside or only trained on, as they have too
    few images for all splits.
    """

    images: pd.DataFrame
    validation: "Validation"
    before: pd.DataFrame | None = None
    rare: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Check:
    """A table, the column that names its rows in messages, and the expectations (GX objects) that it must meet."""

    name: str
    table: pd.DataFrame
    row: str
    expectations: list[Any]
    #: For messages: the setting and the file that a person's own suite is from.
    where: str = ""


@dataclass(frozen=True)
class Finding:
    """One expectation's outcome. `text` says what failed, how often, and in which rows (up to five)."""

    passed: bool
    critical: bool
    text: str

    @property
    def outcome(self) -> str:
        """`holds`, `fails` or `warns`."""
        return "holds" if self.passed else "fails" if self.critical else "warns"


def evaluate(
    checks: list[Check], docs: Path | None = None, others: Sequence[Finding] = (), recipe: str = ""
) -> list[Finding]:
    """Run every expectation of every check; with `docs`, build Data Docs there, readable without a network.

    `others`: findings that are in the result and in the index of Data Docs, too. `recipe`: its name, if the results
    shall be kept in the home's project (`tasks/data/data_docs/history.py`). Raises `RuntimeError` when fewer were
    evaluated than declared: a suite that ran nothing must not pass; `UsageError` for a person's own.
    """
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    if docs:
        context.add_data_docs_site("docs", data_docs.site(docs))
    results = {check.name: _run(context, check) for check in checks}
    findings = [
        finding
        for check in checks
        for run in results[check.name].run_results.values()
        for finding in findings_of(run.results, check)
    ]
    declared = sum(len(check.expectations) for check in checks)
    if len(findings) != declared:
        raise RuntimeError(f"Great Expectations evaluated {len(findings)} of {declared} declared expectations")
    findings += others
    if docs:
        context.build_data_docs(site_names=["docs"])
        data_docs.make_offline(docs, [(finding.outcome, finding.text) for finding in findings])
    if recipe:
        project.keep(home(), recipe, {name: (context.suites.get(name), result) for name, result in results.items()})
    return findings


def _run(context: Any, check: Check) -> Any:
    """GX's result of a check."""
    import great_expectations as gx

    batch = context.data_sources.add_pandas(check.name).add_dataframe_asset("images")
    suite = context.suites.add(gx.ExpectationSuite(name=check.name, expectations=check.expectations))
    definition = gx.ValidationDefinition(
        name=check.name, data=batch.add_batch_definition_whole_dataframe("all"), suite=suite
    )
    checkpoint = gx.Checkpoint(
        name=check.name,
        validation_definitions=[context.validation_definitions.add(definition)],
        result_format=RESULTS | {"unexpected_index_column_names": [check.row]},
    )
    return context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": check.table})


def findings_of(outcomes: Iterable[Any], check: Check) -> list[Finding]:
    """GX's results of a check; those that could not be evaluated are left out, or a `UsageError` in a person's own."""
    found = []
    for outcome in outcomes:
        problem = _raised(outcome.exception_info)
        if problem and check.where:
            kind, column = outcome.expectation_config.type, outcome.expectation_config.kwargs.get("column")
            named = f"{kind} of {column!r}" if column else kind
            columns = ", ".join(check.table)
            raise UsageError(f"{check.where}: {named} cannot be evaluated: {problem}. The columns are: {columns}.")
        if not problem:
            found.append(_finding(outcome, check))
    return found


def _raised(info: dict[str, Any] | None) -> str:
    """Why an expectation could not be evaluated; GX tells it once, or for each metric that the expectation needs."""
    parts = [info or {}, *(info or {}).values()]
    raised = [part for part in parts if isinstance(part, dict) and part.get("raised_exception")]
    return brief(Exception(raised[0].get("exception_message") or "an error")) if raised else ""


def _finding(outcome: Any, check: Check) -> Finding:
    config, result = outcome.expectation_config, outcome.result
    column = config.kwargs.get("column")
    text = config.description or _described(check.name, config.type, config.kwargs)
    if not outcome.success and "unexpected_count" in result:
        examples = ", ".join(f"{row[check.row]}{_shown(row.get(column))}" for row in _examples(result))
        text += f"; fails for {result['unexpected_count']} of {result['element_count']}: {examples}"
    elif not outcome.success:
        text += f"; found {_short(result.get('observed_value'))}"
    if not outcome.success and (config.meta or {}).get("fix"):
        text += f". To do: {config.meta['fix']}"
    return Finding(bool(outcome.success), config.severity == "critical", text)


def _described(name: str, kind: str, kwargs: dict[str, Any]) -> str:
    given = ", ".join(f"{key} = {_short(value)}" for key, value in kwargs.items() if key not in ("batch_id", "column"))
    return f"{name}.{kwargs.get('column', 'rows')} {kind.removeprefix('expect_')}{f' ({given})' if given else ''}"


def _short(value: Any) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else value


def _examples(result: dict[str, Any]) -> list[dict[str, Any]]:
    return (result.get("partial_unexpected_index_list") or [])[:EXAMPLES]


def _shown(value: Any) -> str:
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return " (none)" if missing else f" ({value})"
