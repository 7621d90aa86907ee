"""A folder from somebody else, with a repository whose configuration names programs: none of them runs."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.runtime import git
from tasks.services import tracking

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")


def asked(folder: Path, *words: str) -> str:
    given = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "protocol.file.allow=always")
    return subprocess.run(
        ["git", *given, *words], cwd=folder, check=True, capture_output=True, text=True, timeout=60
    ).stdout


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    asked(folder, "init", "-q")
    (folder / "a.txt").write_text("a")
    asked(folder, "add", ".")
    asked(folder, "commit", "-q", "-m", "first")
    return folder


@pytest.fixture
def planted(tmp_path, repository):
    """The repository is hostile now; whatever it runs writes this file."""
    script, file = tmp_path / "evil", tmp_path / "planted"
    script.write_text(f"#!/bin/sh\ntouch '{file}'\nexit 1\n")
    script.chmod(0o755)
    (repository / ".gitattributes").write_text("* filter=evil diff=evil\n")
    (repository / ".git" / "info").mkdir(exist_ok=True)
    (repository / ".git" / "info" / "attributes").write_text("* filter=evil diff=evil\n")
    for name in (
        "core.fsmonitor",
        "core.pager",
        "core.sshCommand",
        "filter.evil.clean",
        "filter.evil.smudge",
        "diff.evil.command",
        "diff.evil.textconv",
        "gpg.program",
    ):
        asked(repository, "config", name, str(script))
    asked(repository, "config", "core.hooksPath", str(tmp_path))
    asked(repository, "config", "alias.status", f"!{script}")
    asked(repository, "config", "log.showSignature", "true")
    asked(repository, "config", "extensions.partialClone", "origin")
    asked(repository, "config", "remote.origin.promisor", "true")
    asked(repository, "config", "remote.origin.url", f"ext::{script}")
    asked(repository, "config", "protocol.ext.allow", "always")
    (repository / "a.txt").write_text("b")  # as large as it was: git has to look into it
    return file


def test_the_commit_is_told_and_whether_files_differ_from_it(repository, tmp_path):
    name = asked(repository, "rev-parse", "HEAD").strip()
    (repository / "sub").mkdir()
    assert git.commit(repository / "sub") == name
    (repository / "new.txt").write_text("not tracked")
    assert git.commit(repository) == name
    asked(repository, "worktree", "add", "-q", str(tmp_path / "beside"))
    assert git.commit(tmp_path / "beside") == name
    (repository / "a.txt").write_text("changed")
    assert git.commit(repository) == f"{name} with changes"
    assert git.commit(tmp_path / "beside") == name
    (tmp_path / "bare").mkdir()
    assert git.commit(tmp_path / "bare") == ""


def test_nothing_of_a_hostile_repository_runs_when_its_commit_is_asked(repository, planted):
    name = asked(repository, "rev-parse", "HEAD").strip()
    assert git.commit(repository) == f"{name} with changes"
    (repository / ".git" / "HEAD").write_text("1" * 40)  # an object that git would fetch
    git.commit(repository)
    assert not planted.exists()
    subprocess.run(["git", "status"], cwd=repository, capture_output=True, check=False, timeout=60)
    assert planted.exists()  # it is as hostile as it should be


def test_nor_when_mlflow_would_ask_for_the_commit_of_the_command(repository, planted, monkeypatch):
    from mlflow.tracking.context.registry import resolve_tags

    (repository / "headstart").touch()
    monkeypatch.setattr(sys, "argv", [str(repository / "headstart")])
    (repository / ".git" / "HEAD").write_text("1" * 40)
    tracking.client()
    assert not [tag for tag in resolve_tags() if tag.startswith("mlflow.source.git")]
    assert not planted.exists()


def test_nor_when_what_is_served_is_put_together(repository, planted, monkeypatch):
    from flows.deployments.definitions import everything

    monkeypatch.chdir(repository)
    recipe = repository.parent / "pets.toml"
    recipe.write_text(f'name = "pets"\n[source]\noptions = {{ path = "{repository}" }}\n')
    deployments = everything([str(recipe)], [], None, 60)
    assert len(deployments) == 5
    for each in deployments:
        assert each._get_deployment_version_info(each.version_type).type == "prefect:simple"
    assert not planted.exists()
