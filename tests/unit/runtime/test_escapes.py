"""Labels, names of files and messages that are more than text somewhere."""

import csv
import io

import pandas as pd
import pytest
from rich.console import Console

from flows.cli import output
from flows.cli.session import Session
from tasks.runtime import escapes

HOSTILE = (
    "\x1b[31mred\x1b[0m",
    "[red]markup[/]",
    "a | b",
    "`code`",
    "<script>alert(1)</script>",
    "[click](http://evil)",
    "![](http://evil)",
    "two\nlines",
    "\x9b2J\r\x08",
    "\u202egnp.exe",
    "=cmd|' /C calc'!A0",
    "\udcff.png",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_terminal_shows_the_text_and_does_nothing_that_it_says(tmp_path, text):
    out, err = io.StringIO(), io.StringIO()
    s = Session(Console(file=err, width=200), Console(file=out, width=200), out, tmp_path / "log")
    s.say(text)
    s.note(text)
    output.listed(s, text, [{text: text}])
    for shown in (out.getvalue(), err.getvalue()):
        assert not escapes.CONTROLS.search(shown)
        shown.encode()
    assert escapes.printable(text).splitlines()[0] in out.getvalue()


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_is_one_line_of_text_without_marks(text):
    markdown_it = pytest.importorskip("markdown_it")
    shown = escapes.markdown(text)
    assert "\n" not in shown
    html = markdown_it.MarkdownIt("commonmark").enable("table").render(f"| a | b |\n|---|---|\n| {shown} | c |\n")
    assert html.count("<td>") == 2
    assert not any(f"<{tag}" in html for tag in ("script", "a ", "img", "code", "em", "strong"))


@pytest.mark.parametrize("text", ["solar_cells_2", "accuracy 0.9 (0.8 to 1.0): better.", "猫", "a-b"])
def test_a_plain_text_stays_as_it_is_in_markdown_and_on_a_terminal(text):
    assert escapes.markdown(text) == text == escapes.printable(text)


def test_a_table_for_a_spreadsheet_has_no_formula_and_its_numbers_are_numbers(tmp_path):
    formulas = ["=1+1", "+x", "-x", "@SUM(A1)", "\tx", "\rx", "\n=1", "\uff1d1", "=cmd|' /C calc'!A0"]
    plain = ["cat", "-0.5", "+1e-3", "a=b", "'quoted'", "", "12"]
    table = pd.DataFrame({"=label": formulas + plain, "score": [-0.5] * (len(formulas) + len(plain))})
    escapes.write_csv(table, tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["'=label", "score"]
    assert [row[0] for row in rows] == [f"'{text}" for text in formulas] + plain
    assert pd.read_csv(tmp_path / "table.csv")["score"].eq(-0.5).all()
