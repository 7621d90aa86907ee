"""Validate: Great Expectations on the facts; unreadable images are set aside with the reason."""

from pathlib import Path
from typing import Any

import pandas as pd

from tasks.data import selection, splits
from tasks.data.expectations import Case, Finding, evaluate, own
from tasks.records import DatasetRef, FactsRef, digest
from tasks.runtime import escapes, plugins
from tasks.runtime.errors import DataError
from tasks.runtime.home import home
from tasks.runtime.store import folders
from tasks.services import tracking
from tasks.services.orchestration.stage import stage
from tasks.services.registry import versions
from tasks.settings import Split, Validation

#: The suite that compares with an earlier data set.
HISTORY = "history"


def _case(facts: FactsRef, split: Split, validation: Validation, name: str) -> tuple[Case, list[str], dict[str, Any]]:
    """What the suites look at, notes for people, and what both depend on besides the arguments."""
    if salt := versions.fresh(name)[1]:
        split = split.model_copy(update={"salt": f"{split.salt} {salt}"})
    chosen, held = _selected(folders.frame(facts.path), split, validation, versions.splits_before(name))
    before = versions.data_before(name, selection.accepted(chosen.images)) if HISTORY in validation.suites else None
    earlier = None if before is None else digest(before.to_csv(index=False))
    read = {"held": held, "salt": salt, "before": earlier, "own": own.contents(validation)}
    return Case(chosen.images, validation, before, chosen.rare), chosen.notes, read


def _selected(
    rows: pd.DataFrame, split: Split, validation: Validation, before: pd.Series | None
) -> tuple[selection.Selection, dict[str, str]]:
    """What `selection.select` gives, and the splits, by key, of images that would be drawn into another one.

    A version may have seen them in the split that they are kept in.
    """
    chosen = selection.select(rows, split, validation, before)
    if before is None:
        return chosen, {}
    kept, drawn = (
        selection.accepted(each.images).set_index("key")["split"]
        for each in (chosen, selection.select(rows, split, validation))
    )
    return chosen, kept[kept != drawn.reindex(kept.index)].to_dict()


@stage(
    version=7,
    reads=lambda facts, split, validation, name: _case(facts, split, validation, name)[2],
    tells=tracking.log_dataset,
)
def validate(facts: FactsRef, split: Split, validation: Validation, name: str) -> DatasetRef:
    """The data set to train on. Raises `DataError` with one line per failed critical expectation."""
    case, notes, read = _case(facts, split, validation, name)
    images = case.images
    with folders.folder("docs", digest(facts, split, validation, read)) as (docs, docs_path):
        findings = findings_of(case, docs, name)
        escapes.write_csv(images[images["error"].notna()][["uri", "label", "error"]], docs / "rejected.csv")
    tracking.log_files(home() / docs_path, "data_docs")
    refuse(findings, home() / docs_path)
    accepted = selection.accepted(images)
    content = digest(accepted.drop(columns=["mtime"]).to_csv(index=False))
    with folders.folder("datasets", content) as (working, path):
        accepted.to_parquet(working / "images.parquet")
    return DatasetRef(
        path=f"{path}/images.parquet",
        digest=content,
        classes=tuple(sorted(accepted["label"].unique())),
        counts=splits.counts(accepted["split"]),
        rejected=int(images["error"].notna().sum()),
        duplicates=int(images["error"].isna().sum()) - len(accepted),
        expectations=len(findings),
        warnings=(*facts.notes, *notes, *(f"Expected: {found.text}" for found in findings if not found.passed)),
        data_docs=f"{docs_path}/index.html",
        corrected=int(accepted["corrected_from"].notna().sum()),
    )


def findings_of(case: Case, docs: Path | None = None, recipe: str = "") -> list[Finding]:
    """The findings of the recipe's suites and of a person's own. `recipe`: see `evaluate`."""
    suites = [plugins.entry("expectations", name) for name in case.validation.suites]
    checks = [check for suite in (*suites, own.checks) for check in suite(case)]
    return evaluate(checks, docs, own.findings(case), recipe)


def refuse(findings: list[Finding], docs: Path) -> None:
    """Raise `DataError` when a critical expectation failed."""
    failed = [finding.text for finding in findings if finding.critical and not finding.passed]
    if failed:
        lines = "\n".join(f"  - {text}" for text in failed)
        raise DataError(
            f"The data fails {len(failed)} of {len(findings)} expectations:\n{lines}\n"
            f"Fix the data, or change [validation] in the recipe. Details: {docs}/index.html, {docs}/rejected.csv"
        )
