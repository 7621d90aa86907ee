"""The licences of installed packages, whichever way a package states its own."""

import pytest

from tasks.services import licences

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
        (row,) = licences.installed()
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
    assert [row["package"] for row in licences.installed() if row["licence"] == licences.UNKNOWN] == []
