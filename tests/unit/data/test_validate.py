"""What Great Expectations stops, what it only warns of, and what it says."""

import re

import pandas as pd
import pytest

from tasks.data import expectations
from tasks.data.expectations import Case
from tasks.data.selection import RARE
from tasks.runtime.errors import DataError
from tasks.settings import Validation
from tasks.stages.data.validate import findings_of, refuse


@pytest.fixture
def images():
    rows = [
        (f"/p/{label}{i}.png", label, split, f"{label}{split}{i}", 50, 40, None)
        for label in ("cat", "dog")
        for split in ("train", "validation", "test")
        for i in range(4)
    ]
    table = pd.DataFrame(rows, columns=["uri", "label", "split", "key", "width", "height", "error"], dtype=object)
    table["uri"] = [f"/p/{i}.png" for i in range(len(table))]
    return table.astype({"width": int, "height": int})


def _failed(images, **settings):
    return [finding for finding in findings_of(Case(images, Validation(**settings))) if not finding.passed]


def test_good_data_passes(images):
    assert not _failed(images)


def test_one_file_of_a_small_data_set_is_set_aside(images):
    images["error"] = ["cannot be opened"] + [None] * 23
    assert not _failed(images)


def test_a_class_that_is_only_trained_on_needs_no_other_images(images):
    images = images[(images["label"] != "dog") | (images["split"] == "train")]
    failed = [finding for finding in findings_of(Case(images, Validation())) if finding.critical and not finding.passed]
    assert len(failed) == 2
    alone = findings_of(Case(images, Validation(), rare=frozenset({"dog"})))
    assert not [finding.text for finding in alone if finding.critical and not finding.passed]


@pytest.mark.parametrize(
    ("spoil", "settings", "says"),
    [
        (
            lambda t: t.__setitem__("error", ["cannot be opened"] * 2 + [None] * 22),
            {},
            "or one, are set aside; fails for 2 of 24",
        ),
        (
            lambda t: t.__setitem__("error", ["cannot be opened"] + [None] * 23),
            {"max_rejected": 0},
            "are set aside; fails for 1 of 24",
        ),
        (
            lambda t: t.__setitem__("error", [f"{RARE}cat"] + [None] * 23),
            {},
            "of classes with too few images; fails for 1 of 24",
        ),
        (lambda t: t.__setitem__("label", [None, *t["label"][1:]]), {}, "Every file has a label; fails for 1"),
        (lambda t: t, {"classes": ("cat", "bird")}, "Labels are among cat, bird; fails for 12 of 24"),
        (lambda t: t.__setitem__("label", "cat"), {}, "at least 2 classes with readable photos; found 1"),
        (lambda t: t, {"min_images": 5}, "Every class has at least 5 image(s) in the split train; fails for 2 of 2"),
        (
            lambda t: t.__setitem__("key", ["same"] * 5 + list(t["key"][5:])),
            {"copies": "stop"},
            "No photo is in two splits under two names; fails for 1 of 20: /p/0.png (2). To do: ",
        ),
    ],
)
def test_critical_faults_stop_the_run_and_say_where(images, spoil, settings, says):
    spoil(images)
    failed = _failed(images, **settings)
    assert any(says in finding.text and finding.critical for finding in failed), [f.text for f in failed]
    with pytest.raises(DataError, match="expectations"):
        refuse(failed, None)


def test_rows_that_are_set_aside_are_not_doubles_and_need_no_label(images):
    images.loc[:2, ["uri", "label", "error"]] = ["/p", None, "no file name"]
    assert [f.text for f in _failed(images) if "set aside" not in f.text] == []
    images.loc[:2, "error"] = None
    texts = " ".join(finding.text for finding in _failed(images))
    assert "Every file has a label; fails for 3 of 24" in texts
    assert "Every file is named once; fails for 3 of 24" in texts


def test_at_most_five_examples_are_named(images):
    images["label"] = None
    text = next(finding.text for finding in _failed(images) if "has a label" in finding.text)
    assert text.count("/p/") == 5


def test_warnings_do_not_stop_the_run(images):
    images["width"] = 5000
    failed = _failed(images)
    assert [finding.critical for finding in failed] == [False]
    refuse(failed, None)


def test_an_expectation_that_cannot_be_evaluated_is_no_pass(images):
    from great_expectations import expectations as gxe

    check = expectations.Check("files", images, "uri", [gxe.ExpectColumnValuesToNotBeNull(column="no_such_column")])
    with pytest.raises(RuntimeError, match="evaluated 0 of 1 declared"):
        expectations.evaluate([check])


def test_data_docs_load_nothing_from_elsewhere(images, tmp_path):
    images["width"] = 5000
    findings_of(Case(images, Validation()), tmp_path)
    assert "<td>warns</td><td>The longer side is at most 10 times" in (tmp_path / "index.html").read_text()
    pages = list(tmp_path.rglob("*.html"))
    assert (tmp_path / "index.html") in pages
    assert len(pages) >= 4
    for page in pages:
        text = page.read_text()
        assert '<script src="http' not in text
        assert "stackpath" not in text
        assert "amazonaws" not in text


def test_data_docs_run_and_load_nothing_that_a_label_holds(images, tmp_path):
    label = "<img src=//other.example/a onerror=alert(1)><iframe src=//other.example></iframe>"
    images.loc[0, "label"] = label
    findings_of(Case(images, Validation(classes=("cat", "dog"))), tmp_path)
    pages = [page.read_text() for page in tmp_path.rglob("*.html")]
    assert any("other.example" in page for page in pages)
    for page in pages:
        (policy,) = re.findall(r"<head[^>]*><meta http-equiv=.Content-Security-Policy. content=\"([^\"]*)", page)
        assert "default-src 'none'" in policy
        assert "script" not in policy
