"""What sources share, and those of packages."""

import pytest

from tasks.data import sources
from tasks.data.sources import tfds
from tasks.runtime.errors import DataError


def test_labels_that_look_the_same_are_recognised():
    alike = ["cat", "Cat ", " c\u0061t\u200b", "CAT"]
    assert {sources.normalised(label) for label in alike} == {"cat"}
    assert sources.normalised("caf\u00e9") == sources.normalised("cafe\u0301") != sources.normalised("cafe")


def test_elpv_comes_out_of_its_package_with_probability_and_cell_type():
    rows = tfds.rows(name="elpv")
    assert len(rows) == 2624
    assert rows["label"].value_counts().to_dict() == {"functional": 1803, "defective": 821}
    assert ((rows["probability"] > 0.5) == (rows["label"] == "defective")).all()
    assert set(rows["cell_type"]) == {"mono", "poly"}
    assert rows["group"].isna().all()
    assert rows["split"].isna().all()


def test_a_data_set_that_tfds_does_not_know_is_refused():
    with pytest.raises(DataError, match=r"found 'mnisst/x'\. Did you mean (\w+( or )?){1,3}\? All names") as error:
        tfds.rows(name="mnisst/x")
    assert len(str(error.value)) < 400
    with pytest.raises(DataError, match=r"found 'nnnnno'\. All names: "):
        tfds.rows(name="nnnnno")
