"""Plugins of others: in an installed package, and in a folder beside the recipe."""

import os
import subprocess
import sys

import pytest

from flows.contracts import checks
from tasks import settings
from tasks.records import digest
from tasks.runtime import plugins
from tasks.runtime.errors import UsageError
from tasks.runtime.plugins import foreign

SOURCE = {"kind": "folder", "options": {"path": "."}}
HEAD = '''"""A linear head {what}."""

from {helper} import units


def build(shape, classes, *, scale: float = 1.0):
    """Logits."""
'''


@pytest.fixture(autouse=True)
def none_after():
    yield
    plugins.use("")
    foreign._installed.cache_clear()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "my" / "heads").mkdir(parents=True)
    head = HEAD.format(what="of a folder", helper="headstart_plugins._help")
    (tmp_path / "my" / "heads" / "centred.py").write_text(head)
    (tmp_path / "my" / "_help.py").write_text("units = 3\n")
    return tmp_path / "my"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package with a head."""
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "their_head.py").write_text(HEAD.format(what="of a package", helper="their_help"))
    (tmp_path / "others" / "their_help.py").write_text("units = 3\n")
    meta = tmp_path / "others" / "their_heads-1.2.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: their-heads\nVersion: 1.2\n")
    (meta / "entry_points.txt").write_text("[headstart.heads]\ntheirs = their_head\n")
    monkeypatch.syspath_prepend(str(tmp_path / "others"))
    foreign._installed.cache_clear()
    yield tmp_path / "others"
    for name in ("their_head", "their_help"):
        sys.modules.pop(name, None)


def _row(name):
    return next(row for row in plugins.describe("heads") if row["head"] == name)


def test_a_package_brings_a_head(package):
    assert "theirs" in plugins.names("heads")
    assert _row("theirs") == {
        "head": "theirs",
        "options": "scale=1.0",
        "about": "A linear head of a package.",
        "from": "their-heads 1.2",
    }
    assert plugins.bind("heads", "theirs", {"scale": 2}, "head.options") == {"scale": 2.0}
    values = {"name": "x", "source": SOURCE, "head": {"kind": "theirs", "options": {"scale": 3}}}
    assert settings.check(values, "r").head.kind == "theirs"


def test_a_recipe_brings_a_head_that_only_it_knows(folder):
    recipe = folder.parent / "r.toml"
    source = '[source]\nkind = "folder"\noptions = { path = "." }\n'
    recipe.write_text(f'name = "x"\nplugins = "my"\n{source}[head]\nkind = "centred"\noptions = {{ scale = 2 }}\n')
    assert settings.load(recipe).plugins == str(folder)
    assert _row("centred")["from"] == str(folder)
    (folder.parent / "plain.toml").write_text(f'name = "x"\n{source}')
    settings.load(folder.parent / "plain.toml")
    assert "centred" not in plugins.names("heads")
    with pytest.raises(UsageError, match="found 'centred'"):
        settings.load(folder.parent / "plain.toml", ("head.kind=centred",))


def test_what_a_plugin_computed_is_computed_again_when_its_code_changes(folder):
    plugins.use(str(folder))
    with_it, without = settings.Head(kind="centred"), settings.Head(kind="mlp")
    before = digest(with_it), digest(without)
    assert (digest(with_it), digest(without)) == before
    (folder / "_help.py").write_text("units = 4\n")
    # This process has the code as it was; whoever loads a recipe now has it as it is.
    assert (digest(with_it), digest(without)) == before
    assert plugins.load("heads", "centred")
    plugins.use(str(folder))
    assert digest(with_it) != before[0]
    assert digest(without) == before[1]
    assert "headstart_plugins.heads.centred" not in sys.modules


def test_the_code_of_a_plugin_counts_whatever_its_name(folder):
    (folder / "heads" / "köpfe.py").write_text("def build(shape, classes): ...\n")
    plugins.use(str(folder))
    before = digest(settings.Head(kind="köpfe"))
    (row,) = [row for row in plugins.describe("heads") if row["head"] == "köpfe"]
    assert row["about"] == ""
    (folder / "heads" / "köpfe.py").write_text("def build(shape, classes): pass\n")
    plugins.use(str(folder))
    assert digest(settings.Head(kind="köpfe")) != before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("import nothing_of_this_name", "No module named"),
        ("def build(:", "SyntaxError|invalid syntax"),
        ('"""A head."""', "expected a function `build`"),
    ],
)
def test_a_plugin_that_is_broken_is_refused_with_its_name_and_the_reason(folder, content, said):
    (folder / "heads" / "centred.py").write_text(content)
    plugins.use(str(folder))
    with pytest.raises(UsageError, match=rf"centred.*({said})|({said}).*centred"):
        plugins.bind("heads", "centred", {}, "head.options")


def test_a_name_that_is_taken_and_a_folder_without_plugins_are_refused(folder, package, tmp_path):
    (folder / "heads" / "theirs.py").write_text('"""A head."""')
    plugins.use(str(folder))
    with pytest.raises(UsageError, match=r"'theirs'.*their-heads 1\.2 and .*my"):
        plugins.names("heads")
    (folder / "heads" / "theirs.py").rename(folder / "heads" / "mlp.py")
    with pytest.raises(UsageError, match="another name than 'mlp'"):
        plugins.names("heads")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"none in .*empty"):
        plugins.use(str(tmp_path / "empty"))
    with pytest.raises(UsageError, match=r"none in .*nowhere"):
        plugins.use(str(tmp_path / "nowhere"))


#: A head as somebody may write it, and what is wrong with others.
GOOD = '''"""A linear head."""


def build(shape, classes, *, scale: float = 1.0):
    """Logits."""
    import keras

    features = keras.Input(shape)
    pooled = keras.layers.Flatten()(features)
    return keras.Model(features, keras.layers.Dense(classes, name="logits")(pooled), name="head")
'''
WRONG = {
    "expected logits, not probabilities": GOOD.replace("Dense(classes,", 'Dense(classes, activation="softmax",'),
    "expected the model to be called head": GOOD.replace('name="head"', 'name="mine"'),
    "expected a docstring of its function": GOOD.replace('    """Logits."""\n', ""),
}


def _pytest(folder, *paths):
    env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", f"--headstart-plugins={folder}"]
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True)


def test_whoever_writes_a_plugin_can_check_it_with_pytest(folder, package):
    (folder / "heads" / "centred.py").write_text(GOOD)
    answer = _pytest(folder, package)
    # The package's head builds nothing.
    assert "1 failed, 1 passed" in answer.stdout
    assert "headstart[heads-theirs]" in answer.stdout


@pytest.mark.parametrize("said", WRONG)
def test_a_contract_that_is_broken_is_said(folder, tmp_path, said):
    (folder / "heads" / "centred.py").write_text(WRONG[said])
    plugins.use(str(folder))
    with pytest.raises(AssertionError, match=said):
        checks.run("heads", "centred", tmp_path)


def test_pytest_without_a_plugin_to_check_says_so(tmp_path):
    answer = _pytest(tmp_path)
    assert answer.returncode == 4
    assert "expected a folder with plugins" in answer.stderr
