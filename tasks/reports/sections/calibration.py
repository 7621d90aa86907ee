"""The page's part on calibration, prediction sets, selective prediction and novelty."""

from html import escape

from tasks.records import CalibrationRef, Coverage, Report
from tasks.reports.sections.html import table


def section(calibration: CalibrationRef, report: Report) -> str:
    """The sentences, and how often sets held the label in each class."""
    held = report.calibration
    columns = {"images": True, "label in the set": True, "95 % interval": True}
    rows = [_row(each) for each in (held.coverage, *held.classes)]
    listed = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences(calibration, report))
    return f"<ul>{listed}</ul>{table({'class': False} | columns, rows)}"


def sentences(calibration: CalibrationRef, report: Report) -> tuple[str, ...]:
    """What was read off the validation images, and how it held on the test images."""
    terms, held = calibration.terms, report.calibration
    sure = "was shown" if terms.shown else "could not be shown on so few images"
    novelty = "The network hides its features: nothing is called new."
    if held.novel is not None:
        novelty = (
            f"New is what lies farther from the training images than {1 - terms.false_alarms:.0%} of the validation "
            f"images: {calibration.novel:.1%} of those, {held.novel:.1%} of the test images."
        )
    return (
        f"Temperature {terms.temperature:.3f}, fitted on {calibration.images} validation images: calibration error "
        f"{held.uncalibrated_ece:.4f} before and {report.metrics['ece']:.4f} after, on the test images.",
        f"Sets of classes that hold the label with chance {terms.coverage:.0%}, whichever it is: "
        f"{held.coverage.value:.1%} of them do, with {held.set_size:.2f} classes on average.",
        f"Answers below {min(terms.sure_from, 1):.1%} confidence are abstained from, for {terms.precision:.0%} right "
        f"ones among the others, which {sure}: {held.answered:.1%} are answered, {held.precision:.1%} of them right "
        f"({held.precision_interval[0]:.1%} to {held.precision_interval[1]:.1%}).",
        novelty,
    )


def _row(found: Coverage) -> tuple[str, ...]:
    low, high = found.interval
    return escape(found.name), str(found.images), f"{found.value:.1%}", f"{low:.1%} to {high:.1%}"
