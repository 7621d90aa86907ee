"""The report of a run, as a person sees it in a browser."""

import dataclasses

import pandas as pd
import pytest

from tasks import records as r
from tasks.reports import card, figures, page

pytest.importorskip("selenium")
import browser

CLASSES = ("a class with quite a long name, as folders have", "b", "<i>c</i>")
FACTS = {
    "recipe": "cells, seed 0",
    "backbone": "efficientnet_lite lite0 packaged",
    "licence of the photos": "CC BY 4.0",
    "weights": "digest 0123456789abcdef0123",
    "licence of the weights": "Apache-2.0",
    "packages": "Python 3.11, " + ", ".join(f"package-{number} 1.2.3" for number in range(12)),
    "git commit": "0123456789abcdef" * 3,
}


TERMS = r.CalibrationTerms(1.3, (0.2, 0.3, 0.3), 0.9, 0.8, 0.95, 5, 0.1, 0.05)


def _calibration() -> r.CalibrationReport:
    held = [r.Coverage(name, 40, 0.9, (0.8, 0.95)) for name in ("all", *CLASSES)]
    return r.CalibrationReport(held[0], tuple(held[1:]), 1.2, 0.6, 0.97, (0.9, 0.99), 0.04, 0.1)


def _findings() -> r.Findings:
    """A run with everything that a page can show, in words that are long and in letters that HTML would read."""
    network = r.ModelRef(
        path="models/x/network.keras",
        digest="0" * 20,
        rung="blocks",
        blocks=(),
        validation=r.ModelScores({"accuracy": 0.9, "log_loss": 0.3}, "models/x/validation.npy"),
        training=r.TrainingLog(12.0, 3, frozen_variables=200, trained_variables=60),
        origin=r.Origin(tables=()),
    )
    rung = r.RungScore("blocks", 0.3, (0.2, 0.4), 0.9, 0.0, (0.0, 0.0), 12.0, True, 0.3, 60, 60)
    part = r.SliceScore(
        "camera",
        "left",
        40,
        {"accuracy": 0.8},
        "accuracy",
        -0.1,
        (-0.2, -0.05),
        "worse",
        -0.1,
        (0, 0),
        "no sure change",
    )
    classes = tuple(r.ClassScore(name, 40, 0.9, 0.8, 0.85, (0.7, 0.9)) for name in CLASSES)
    gates = (
        r.GateResult("not_worse_than_champion", "undecided", "accuracy 0.9 against 0.89; p = 0.3", {"p": 0.3}, 2300),
        r.GateResult("min_metric", "passed", "accuracy 0.9000", {"accuracy": 0.9}),
    )
    return r.Findings(
        dataset=r.DatasetRef(
            "p", "d" * 20, CLASSES, dict.fromkeys(r.SPLITS, 120), 2, 1, 30, ("1 file < 8 px",), "docs"
        ),
        model=network,
        ladder=r.LadderRef("l" * 20, (network,), (rung,), network, "the recipe stops at blocks"),
        transfer=r.TransferRef("t" * 20, "Transfer helps here.", 0, {}, {}),
        calibration=r.CalibrationRef("c" * 20, TERMS, "", 60, (0.4, 0.3), (0.1, 0.05), 0.6, 0.05, (20, 20, 20)),
        report=r.Report(
            "reports/x/classes.csv",
            "e" * 20,
            {"accuracy": 0.9, "ece": 0.03},
            {"accuracy": (0.8, 0.95), "ece": (0.01, 0.05)},
            "p",
            _calibration(),
            classes,
            (part,),
            "probe",
        ),
        verdict=r.Verdict(
            "v" * 20, "undecided", "label about 2,300 more test images", gates, "3", "", "s" * 20, 1.5, 0.008
        ),
        version=r.VersionRef("cells", "4", ("challenger",), "n" * 20),
    )


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    import numpy as np

    folder = tmp_path_factory.mktemp("page")
    photos = np.random.default_rng(0).integers(0, 255, (5, 32, 32, 3), "uint8")
    figures.gallery(photos, ["a\nsaid b, 90%"] * 5, "Worst mistakes", folder / "worst.png")
    stages = {"ingest": r.StageLog(1.2, False), "extract": r.StageLog(20.0, True)}
    pictures = {"Worst mistakes": folder / "worst.png"}
    said = pd.DataFrame({"label": ["b", "b", "b"], "predicted": ["b", CLASSES[0], CLASSES[0]]})
    page.write(folder / "report.html", _findings(), pictures, said, stages, FACTS)
    return folder / "report.html"


def test_the_decision_comes_first_and_all_parts_follow(report):
    text = report.read_text()
    assert text.index("Undecided") < text.index("2,300 more") < text.index("Scores on the test images")
    for sentence in (
        "90.0% of the 120 test images",
        "expect 80.0% to 95.0% (95 % interval)",
        "Label about 2,300 more test images, and run the recipe again",
        "<code>headstart promote cells 4</code>",
    ):
        assert sentence in text[: text.index("<nav>")]
    for heading in (
        "Classes",
        "Calibration and prediction sets",
        "Confusion matrix",
        "Data",
        "Ladder",
        "Slices",
        "Worst mistakes",
        "Stages",
        "Provenance",
    ):
        assert f">{heading}</h2>" in text
    assert f"Most often taken for another class: 2 of 3 of b for {CLASSES[0]}" in text
    assert "1.5 decisions between two models" in text
    assert "&lt;i&gt;c&lt;/i&gt;" in text
    assert "<i>c</i>" not in text
    assert "<script" not in text


@pytest.mark.skipif(not browser.DRIVER, reason="needs chromedriver: apt-get install chromium-driver")
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_it_without_a_complaint(report, width, scheme):
    with browser.open_page(report, width, scheme) as driver:
        assert driver.find_element("tag name", "h1").text == "cells version 4"
        assert driver.find_element("tag name", "img").size["width"] <= width
        assert browser.problems(driver, report) == []


@pytest.mark.skipif(not browser.DRIVER, reason="needs chromedriver: apt-get install chromium-driver")
def test_a_page_that_asks_for_more_or_runs_over_is_found_out(report, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text(
        '<meta name="viewport" content="width=device-width"><p style="width:2000px">x</p><p style="color:#ddd">pale</p>'
        '<img src="http://127.0.0.1:9/x.png"><script>console.error("broken")</script>'
    )
    with browser.open_page(bad, 390, "light") as driver:
        found = " ".join(browser.problems(driver, bad))
    for word in ("broken", "asked for http://127.0.0.1:9/x.png", "wider than the window", "contrast"):
        assert word in found


def test_the_card_says_what_the_model_is_and_under_which_licences():
    text = card.text(_findings(), FACTS)
    for word in (
        "# cells, version 4",
        "Undecided: label about 2,300",
        "| accuracy | 0.9000",
        "CC BY 4.0",
        "Apache-2.0",
    ):
        assert word in text
    assert "$" not in text
    better = dataclasses.replace(_findings(), verdict=dataclasses.replace(_findings().verdict, decision="promote"))
    assert "Promote" in card.text(better, FACTS)
