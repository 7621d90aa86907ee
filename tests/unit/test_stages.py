"""`tasks/stages` is the list of stages: one in a file of its name, each in a group, all in the text at the top."""

import ast
import re
from pathlib import Path

from tasks import stages

FOLDER = Path(stages.__file__).parent


def _body(file):
    return [node for node in ast.parse(file.read_text()).body if not isinstance(node, ast.Expr)]


def test_groups_hold_stages_and_nothing_stands_beside_them():
    assert [file.name for file in FOLDER.glob("*.py")] == ["__init__.py"]
    assert not [file for file in FOLDER.rglob("__init__.py") if _body(file)]


def test_each_file_is_a_stage_of_its_name():
    for file in FOLDER.glob("*/[!_]*.py"):
        names = [node.name for node in _body(file) if isinstance(node, ast.FunctionDef) and node.decorator_list]
        assert file.stem in names, file


def test_the_list_names_each_stage_once():
    listed = re.findall(r"^(\w+) +((?:\w+, )*\w+)$", stages.__doc__, re.M)
    assert {(group, name) for group, names in listed for name in names.split(", ")} == {
        (file.parent.name, file.stem) for file in FOLDER.glob("*/[!_]*.py")
    }
