"""What is installed: its licences, whichever way a package states its own, and whether it is what is needed."""

from importlib import metadata

import pytest

from flows.cli import session
from tasks.services import packages

MIT = "MIT License\n\nPermission is hereby granted, free of charge, to any person ..."


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Make a package with this metadata, and perhaps a file with its licence; its licence as it is found."""
    monkeypatch.setattr("sys.path", [str(tmp_path)])

    def licence(about, text=None):
        folder = tmp_path / "their_pets-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: their-pets\nVersion: 1.0\n{about}\n")
        if text is not None:
            (folder / "LICENSE.txt").write_text(text)
            (folder / "RECORD").write_text("their_pets-1.0.dist-info/LICENSE.txt,,\n")
        (row,) = packages.licences()
        return row["licence"], row["told by"]

    return licence


@pytest.mark.parametrize(
    ("about", "text", "found"),
    [
        ("License-Expression: MIT OR Apache-2.0\nLicense: see file", None, ("MIT OR Apache-2.0", "metadata")),
        ("Classifier: License :: OSI Approved :: Apache Software License", MIT, ("Apache-2.0", "metadata")),
        ("License: BSD-3-Clause", None, ("BSD-3-Clause", "metadata")),
        ("License: UNKNOWN", MIT, ("MIT", "its text")),
        ("License: UNKNOWN", "All rights reserved.", ("not stated", "")),
        ("", None, ("not stated", "")),
    ],
)
def test_a_licence_is_found_wherever_it_is_stated(package, about, text, found):
    assert package(about, text) == found


def test_everything_that_is_installed_here_states_its_licence():
    assert [row["package"] for row in packages.licences() if row["licence"] == packages.UNKNOWN] == []


def test_what_is_installed_here_is_what_is_needed():
    assert packages.unmet() == []


def test_a_package_of_another_version_is_named_with_what_is_needed(monkeypatch):
    monkeypatch.setattr(
        metadata, "requires", lambda name: ["pandas>=3", "numpy>=1", "nothing-of-this-name", "x; extra == 'gpu'"]
    )
    monkeypatch.setattr(metadata, "version", lambda name: {"pandas": "2.3.1", "numpy": "2.0"}.get(name) or _none(name))
    assert packages.unmet() == ["pandas>=3, found 2.3.1", "nothing-of-this-name, found none"]
    said = session._unexpected(AttributeError("module 'pandas' has no attribute 'x'"))
    assert "pandas>=3, found 2.3.1" in said and "environment of its own" in said


def _none(name):
    raise metadata.PackageNotFoundError(name)
