"""Expectations that a person brings: suites in files, and a project of Great Expectations with its actions."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from tasks.data import selection
from tasks.data.expectations import Case, Check, Finding
from tasks.data.expectations.own import files, project
from tasks.settings import Validation


def contents(validation: Validation) -> dict[str, str]:
    """The digest of each file that the results depend on, by its path."""
    found = _digests(Path(validation.own).glob("*.json")) if validation.own else {}
    if validation.project:
        with project.alone(validation.project):
            of_project = validation.project.rglob("*.json")
            found |= _digests(file for file in of_project if "uncommitted" not in file.parts)
    return found


def _digests(paths: Iterable[Path]) -> dict[str, str]:
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(paths)}


def checks(case: Case) -> list[Check]:
    """The suites in the folder `validation.own`, on the images that are used."""
    return files.checks(Path(case.validation.own), _table(case)) if case.validation.own else []


def findings(case: Case) -> list[Finding]:
    """Run the suites of the project `validation.context` on the images that are used, and then its actions."""
    if not (folder := case.validation.project):
        return []
    with project.alone(folder):
        return project.run(folder, case.validation.context_suites, _table(case))


def _table(case: Case) -> pd.DataFrame:
    return selection.accepted(case.images).drop(columns="error")
