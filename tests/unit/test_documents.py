"""What the documents name exists: commands and their options, files, extras; and a test runs each block of commands."""

import importlib.util
import re
import shlex
import tomllib

import pytest
from documents import BLOCKS, ROOT, TEXTS, inline

#: Blocks of commands, by a word that each holds, and the test that runs them.
RUN = {
    ("README.md", "headstart train elpv"): ".ci/run, where uv is there already",
    ("README.md", "uv run pytest"): ".ci/run",
    ("README.md", "headstart init"): "system/test_readme.py",
    ("README.md", "headstart predict"): "system/test_readme.py",
    ("README.md", "headstart rollback"): "system/test_serve.py",
    ("mlflow/README.md", "models serve"): "system/test_readme.py",
    ("mlflow/README.md", "curl"): "system/test_readme.py",
    ("mlflow/README.md", "headstart score"): "system/test_readme.py",
    ("mlflow/README.md", "headstart rollback"): "system/test_readme.py",
    ("mlflow/README.md", "--to staging"): "flows/test_environments.py, the function that the command calls",
    ("mlflow/README.md", "openssl"): "flows/test_tampering.py",
    ("mlflow/README.md", "model_signing"): "flows/test_tampering.py",
    ("flows/recipes/project/README.md", "--headstart-plugins"): "flows/test_cli.py, as the CI file has them",
    ("tasks/evaluation/README.md", "labels suspects"): "system/test_readme.py",
    ("CONTRIBUTING.md", "sphinx-build"): ".ci/run",
    ("infra/docs/own_photos.md", "headstart init"): "system/test_readme.py, by the same line of README.md",
    ("infra/docs/own_photos.md", "headstart train"): "system/test_readme.py, by the same line of README.md",
    ("infra/docs/own_photos.md", "headstart predict"): "flows/test_cli.py",
    ("infra/docs/own_photos.md", "labels suspects"): "system/test_readme.py",
    ("infra/docs/own_photos.md", "labels apply"): "system/test_readme.py",
    ("infra/docs/schedule.md", "headstart serve"): "system/test_serve.py, by the same line of README.md",
    ("infra/docs/schedule.md", "headstart notify"): "system/test_serve.py",
    ("infra/docs/schedule.md", "headstart promote"): "system/test_readme.py",
    ("infra/docs/schedule.md", "headstart rollback"): "system/test_readme.py",
    ("infra/docs/own_head.md", "--project"): "flows/test_cli.py",
    ("infra/docs/own_head.md", "--headstart-plugins"): "flows/test_cli.py",
    ("infra/docs/own_head.md", "head.kind=narrow"): "flows/test_cli.py",
    ("infra/docs/servers.md", "mlflow server"): "acceptance/pages.py",
    ("infra/docs/servers.md", "prefect server start"): "acceptance/pages.py",
    ("infra/docs/servers.md", "export"): "acceptance/pages.py",
    ("infra/docs/servers.md", "headstart deploy"): "system/test_prefect_yaml.py",
    ("infra/docs/servers.md", "worker start"): "acceptance/wheel.py",
    ("infra/docs/servers.md", "headstart alerts"): "system/test_serve.py",
    ("infra/README.md", "headstart serve"): "system/test_serve.py, by the same line of README.md",
    ("infra/README.md", "prefect work-pool"): "system/test_servers.py",
}
#: Blocks that need what no test has: what is checked instead.
READ = {
    ("infra/README.md", "--profile gpu"): "the file by Compose's schema, the servers by system/test_servers.py",
    ("infra/README.md", "imagetools"): "needs Docker and a registry",
    ("infra/README.md", "run --rm accounts"): "the script, by system/test_servers.py",
    ("infra/README.md", "backup.sh"): "the script, by system/test_backup.py",
    ("infra/README.md", "restore.sh"): "the script, by system/test_backup.py",
    ("infra/README.md", "db upgrade"): "the commands in the containers, by system/test_backup.py",
    ("infra/README.md", "kubectl"): "needs a cluster",
    ("CONTRIBUTING.md", "pre-commit install"): "changes the clone",
    ("tests/fuzz/README.md", "tests.fuzz"): ".ci/run, for all targets",
    ("CONTRIBUTING.md", "pip install torch"): ".ci/run, with the package's own index",
}
#: What stands for a value in the tables of commands.
VALUES = {"SECONDS": "60", "FORMAT": "onnx", "VERSION": "3", "NAME@champion": "pets@champion"}
#: A command in a document: whatever stands before the program is the reader's environment.
COMMAND = re.compile(
    r"^(?:\w+=\S+ )*(?:uv run (?:--\S+ )*(?:hub |jax |fuzz )?)?(headstart|mlflow|prefect|python -m) (.+)"
)


@pytest.mark.parametrize("block", [each for each in BLOCKS if each.language == "sh"], ids=lambda each: each.document)
def test_a_test_runs_each_block_of_commands(block):
    known = [key for key in RUN | READ if key[0] == block.document and key[1] in block.text]
    assert known, f"no test runs this block of {block.document}: {block.text}"


def test_commands_stand_in_blocks_that_say_so():
    said = re.compile(r"^(?:uv|pip|headstart|docker|prefect|kubectl|mlflow) ", re.M)
    assert [each for each in BLOCKS if each.language != "sh" and said.search(each.text)] == []


def _commands():
    """Each command of each document, in blocks, sentences and tables."""
    for name in TEXTS:
        lines = [line for each in BLOCKS if each.document == name for line in each.text.splitlines()]
        for line in lines + inline(name):
            if found := COMMAND.match(line):
                yield name, found[1], found[2]


@pytest.mark.parametrize(("document", "program", "rest"), sorted(set(_commands())))
def test_every_command_is_one_that_exists(document, program, rest):
    words = [VALUES.get(word, word) for word in shlex.split(rest.replace("…", "").strip("[]"), comments=True)]
    if program == "python -m":
        assert importlib.util.find_spec(words[0]), rest
    elif program == "headstart":
        from typer.main import get_command

        from flows.cli.app import app

        _parse(get_command(app), "headstart", words)
    elif program == "mlflow" and words[0] != "ui":
        from mlflow.cli import cli

        _parse(cli, "mlflow", words)


def _parse(command, name, words):
    """Let a command of Click's read its words; it raises where it does not know one."""
    while hasattr(command, "commands") and words and words[0] in command.commands:
        command, words = command.commands[words[0]], words[1:]
    try:
        command.make_context(name, words)
    except Exception as error:
        # A sentence may name a command without what it takes, and --version ends at once. Typer has a Click of its own,
        # with its own classes.
        assert type(error).__name__ in ("MissingParameter", "Exit"), error


def test_every_command_is_in_the_readme():
    from typer.main import get_command

    from flows.cli.app import app

    told = {words.split()[0] for name, program, words in _commands() if (name, program) == ("README.md", "headstart")}
    assert set(get_command(app).commands) <= told


def test_every_file_that_is_named_exists():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for name, text in TEXTS.items():
        folder = (ROOT / name).parent
        links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
        paths = re.findall(r"`((?:flows|tasks|tests|infra|mlflow)/[\w./-]+)`", text)
        missing = [link for link in links if not (folder / link).exists()]
        missing += [path for path in paths if not (ROOT / path).exists()]
        assert not missing, name
        asked = {each for found in re.findall(r"headstart\[(\w+)\]|--extra (\w+)", text) for each in found if each}
        assert asked <= set(extras), name
