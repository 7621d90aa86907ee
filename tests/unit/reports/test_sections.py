"""What the page of a run says about images that are alike, and about time."""

import dataclasses

import numpy as np

from tasks import records as r
from tasks.evaluation import gates
from tasks.evaluation.gates import Case
from tasks.reports import html
from tasks.reports.sections import decision, scores, time_gap

HELD = r.Coverage("all", 656, 0.9, (0.8, 0.95))
CALIBRATION = r.CalibrationReport(HELD, (), 1.2, 0.6, 0.97, (0.9, 0.99), 0.04, 0.1)
REPORT = r.Report("p", "d", {"accuracy": 0.9}, {"accuracy": (0.81, 0.96)}, "p", CALIBRATION, independent=656)


def _verdict(groups):
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 400)
    wrong = np.zeros(400, bool)
    wrong[:15] = True
    champion, challenger = (np.eye(2)[one] * 0.8 + 0.1 for one in (np.where(wrong, 1 - labels, labels), labels))
    results = gates.run({"not_worse_than_champion": {}}, Case(labels, ("a", "b"), challenger, champion, groups=groups))
    said, reason = gates.decide(results)
    return html.blocks(decision.section(r.Verdict("v", said, reason, results, "3", "", "t", 0, 0.05)))


def test_scores_show_both_intervals_where_images_are_alike():
    found = dataclasses.replace(REPORT, independent=601, by_images={"accuracy": (0.85, 0.93)})
    text = html.blocks(scores.metrics(found, 656))
    assert "601 of the 656 test images are independent" in text
    assert text.index("interval, by images") < text.index("interval, by groups")
    assert text.index("0.8500 to 0.9300") < text.index("0.8100 to 0.9600")


def test_scores_show_one_interval_where_each_image_stands_alone():
    text = html.blocks(scores.metrics(REPORT, 656))
    assert "independent" not in text
    assert "by images" not in text
    assert "0.8100 to 0.9600" in text


def test_the_decision_shows_what_groups_change():
    # All that the challenger mends is photos of one cell.
    text = _verdict(np.concatenate([np.zeros(20, int), np.arange(1, 381)]))
    table = text[text.index("against the champion</th>") :]
    assert "381 of the 400 compared images are independent" in text
    assert '<td class="n">passed</td><td class="n"><b>undecided</b></td>' in table
    assert '<td class="n">6.1e-05</td><td class="n">1</td>' in table


def test_the_decision_says_no_more_where_each_image_stands_alone():
    assert "against the champion</th>" not in _verdict(None)


def _time(low, high, gaps=True):
    newest = r.TimeSample(120, 110, "2026-05-01", "2026-06-30", {"accuracy": 0.8}, {"accuracy": (0.72, 0.86)})
    older = r.TimeSample(60, 60, "2025-01-02", "2026-04-30", {"accuracy": 0.9}, {"accuracy": (0.8, 0.95)})
    return r.TimeGap(newest, older, {"accuracy": -0.1} if gaps else {}, {"accuracy": (low, high)} if gaps else {})


def test_the_newest_images_stand_beside_random_older_ones():
    text = html.blocks(time_gap.section(_time(-0.18, -0.01)))
    assert "On the 120 newest images (2026-05-01 to 2026-06-30) the accuracy is 0.8000" in text
    assert "on 60 random older ones (2025-01-02 to 2026-04-30) it is 0.9000: a gap of -0.1000" in text
    assert "does worse on newer images" in text
    assert "0.7200 to 0.8600" in text
    assert "-0.1800 to -0.0100" in text
    assert "Of the newest 110 images are independent, of the older 60" in text


def test_what_time_changes_follows_from_the_interval():
    assert "cannot be told; later images" in time_gap.sentence(_time(-0.18, 0.01))
    assert "are easier" in time_gap.sentence(_time(0.01, 0.18))
    few = html.blocks(time_gap.section(_time(0, 0, gaps=False)))
    assert "cannot be told yet: 110 independent newest images and 60 older ones" in few
    assert "<table" not in few
    assert time_gap.section(None) == []


def _ladder(*costs):
    rungs = tuple(
        r.ModelRef("p", name, name, (), r.ModelScores({}, ""), r.TrainingLog(1.0, 1, 0, 0), r.Origin(()), cost)
        for name, cost in zip(("probe", "head", "blocks"), costs, strict=True)
    )
    each = tuple(
        r.RungScore(rung.rung, 0.3, (0.2, 0.4), accuracy, 0, (0, 0), 1.0, rung.rung == "head", 0.3, 60, 60)
        for rung, accuracy in zip(rungs, (0.8, 0.9, 0.9), strict=True)
    )
    return r.LadderRef("l", rungs, each, rungs[1], "that was all")


def test_the_table_of_costs_marks_the_pareto_front():
    # The first two are one network with other weights: what differs between their times is noise.
    ladder = _ladder(r.ModelCost(14.31, 9.6), r.ModelCost(14.32, 8.01), r.ModelCost(20.0, 12.345))
    text = html.blocks(scores.costs(ladder))
    assert "Accuracy is read on 60 validation images" in text
    cells = [row.split("<td")[1:] for row in text.split("<tr>")[2:]]
    shown = [[cell.partition(">")[2].partition("<")[0] for cell in row] for row in cells]
    assert shown == [
        ["probe", "0.8000", "8", "14.3", ""],
        ["head (chosen)", "0.9000", "8", "14.3", "on it"],
        ["blocks", "0.9000", "12", "20.0", ""],
    ]


def test_the_ladder_says_how_certain_a_choice_is():
    found = dataclasses.replace(_ladder(None, None, None), confidence=0.55)
    assert "Certain means a confidence of 55% for each end of an interval" in html.blocks(scores.ladder(found))


def test_an_average_over_views_takes_its_own_time_though_it_is_as_large():
    found = _ladder(r.ModelCost(14.31, 8.0), r.ModelCost(14.31, 8.1), r.ModelCost(14.31, 16.0))
    *others, last = found.rungs
    last = dataclasses.replace(last, origin=r.Origin((), averages=("head",)))
    text = html.blocks(scores.costs(dataclasses.replace(found, rungs=(*others, last))))
    (row,) = (row for row in text.split("<tr>") if "blocks" in row)
    assert ">16<" in row and "on it" not in row


def test_there_is_no_table_of_costs_that_older_releases_did_not_measure():
    assert scores.costs(_ladder(r.ModelCost(14.3, 8.0), None, None)) == []
