"""Expectations that a person brings: suites in files, and a project of Great Expectations with its actions."""

import hashlib
from pathlib import Path

import pandas as pd

from tasks.data import selection
from tasks.data.expectations import Case, Check, Finding
from tasks.data.expectations.own import files, project
from tasks.settings import Validation


def contents(validation: Validation) -> dict[str, str]:
    """The digest of each file that the results depend on, by its path."""
    found = list(Path(validation.own).glob("*.json")) if validation.own else []
    if validation.project:
        found += [file for file in validation.project.rglob("*.json") if "uncommitted" not in file.parts]
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(found)}


def checks(case: Case) -> list[Check]:
    """The suites in the folder `validation.own`, on the images that are used."""
    return files.checks(Path(case.validation.own), _table(case)) if case.validation.own else []


def findings(case: Case) -> list[Finding]:
    """Run the suites of the project `validation.context` on the images that are used, and then its actions."""
    found = case.validation.project
    return project.run(found, case.validation.context_suites, _table(case)) if found else []


def _table(case: Case) -> pd.DataFrame:
    return selection.accepted(case.images).drop(columns="error")
