"""Validate: Great Expectations on the facts; unreadable images are set aside with the reason."""

from pathlib import Path

import pandas as pd

from tasks.data.expectations import Finding, evaluate
from tasks.records import SPLITS, DatasetRef, FactsRef, digest
from tasks.runtime import plugins
from tasks.runtime.errors import DataError
from tasks.runtime.home import home
from tasks.runtime.store import folders
from tasks.services import tracking
from tasks.services.orchestration.stage import stage
from tasks.settings import Validation


@stage(version=2)
def validate(facts: FactsRef, validation: Validation) -> DatasetRef:
    """The data set to train on. Raises `DataError` with one line per failed critical expectation."""
    images = folders.frame(facts.path)
    address = digest(facts, validation)
    with folders.folder("docs", address) as (docs, docs_path):
        findings = findings_of(images, validation, docs)
    images[images["error"].notna()][["uri", "label", "error"]].to_csv(home() / docs_path / "rejected.csv", index=False)
    tracking.log_files(home() / docs_path, "data_docs")
    refuse(findings, home() / docs_path)
    accepted = images[images["error"].isna()].drop_duplicates("key").sort_values("key", ignore_index=True)
    content = digest(accepted.drop(columns=["mtime"]).to_csv(index=False))
    with folders.folder("datasets", content) as (working, path):
        accepted.to_parquet(working / "images.parquet")
    dataset = DatasetRef(
        path=f"{path}/images.parquet",
        digest=content,
        classes=tuple(sorted(accepted["label"].unique())),
        counts={split: int((accepted["split"] == split).sum()) for split in SPLITS},
        rejected=int(images["error"].notna().sum()),
        duplicates=int(images["error"].isna().sum()) - len(accepted),
        expectations=len(findings),
        warnings=tuple(finding.text for finding in findings if not finding.passed),
        data_docs=f"{docs_path}/index.html",
        corrected=int(accepted["corrected_from"].notna().sum()),
    )
    tracking.log_dataset(dataset)
    return dataset


def findings_of(images: pd.DataFrame, validation: Validation, docs: Path | None = None) -> list[Finding]:
    """The findings of the recipe's suites in the facts table."""
    suites = [plugins.entry("expectations", name) for name in validation.suites]
    return evaluate([check for suite in suites for check in suite(images, validation)], docs)


def refuse(findings: list[Finding], docs: Path) -> None:
    """Raise `DataError` when a critical expectation failed."""
    failed = [finding.text for finding in findings if finding.critical and not finding.passed]
    if failed:
        lines = "\n".join(f"  - {text}" for text in failed)
        raise DataError(
            f"The data fails {len(failed)} of {len(findings)} expectations:\n{lines}\n"
            f"Fix the data, or change [validation] in the recipe. Details: {docs}/index.html, {docs}/rejected.csv"
        )
