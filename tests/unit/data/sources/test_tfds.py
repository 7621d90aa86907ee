"""TFDS data sets with features of any name and kind."""

import helpers
import numpy as np
import pytest

from tasks.data.sources import tfds as source
from tasks.runtime.errors import DataError, UsageError

PLANTS = "headstart_plants"


@pytest.fixture(scope="module")
def plants(tmp_path_factory):
    """The folder of a data set with two images, lists, nested features and several labels; some have no label."""
    import tensorflow_datasets as tfds

    files = tmp_path_factory.mktemp("files")
    for number in range(6):
        helpers.photo((90, 120, number * 40), number).save(files / f"{number}.webp")

    class HeadstartPlants(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "photo": tfds.features.Image(),
                "mask": tfds.features.Image(),
                "species": tfds.features.ClassLabel(names=["oak", "elm"]),
                "site": tfds.features.Text(),
                "tree": tfds.features.Scalar(np.int64),
                "height": tfds.features.Scalar(np.float32),
                "tags": tfds.features.Sequence(tfds.features.ClassLabel(names=["old", "tall"])),
                "box": tfds.features.BBoxFeature(),
                "camera": {"maker": tfds.features.Text()},
                "error": tfds.features.Text(),
                "part": tfds.features.Text(),
            }
            return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {name: self._generate_examples(name) for name in ("train", "Test", "validation", "extra")}

        def _generate_examples(self, name):
            for number in range(6):
                yield (
                    number,
                    {
                        "photo": files / f"{number}.webp",
                        "mask": files / f"{number}.webp",
                        "species": -1 if name == "validation" or (name, number) == ("train", 5) else number % 2,
                        "site": ["north", "south"][number % 2],
                        "tree": number // 2,
                        "height": number / 4,
                        "tags": ["old"],
                        "box": tfds.features.BBox(0.0, 0.0, 1.0, 1.0),
                        "camera": {"maker": "x"},
                        "error": "none",
                        "part": ["Training", "val", "test"][number % 3],
                    },
                )

    return tmp_path_factory.mktemp("plants")


def test_features_of_any_name_and_several_splits(plants):
    rows = source.rows(name=PLANTS, data_dir=plants, image="photo", group="tree")
    assert rows.groupby("split").size().to_dict() == {"test": 6, "train": 6}
    assert rows["label"].value_counts().to_dict() == {"oak": 6, "elm": 5}  # -1 is no class, and not the last one
    assert set(rows["group"]) == {"0", "1", "2"}
    assert set(rows) == {"uri", "label", "group", "split", "site", "height", "part"}
    assert all(uri.endswith(".webp") for uri in rows["uri"])
    assert rows.attrs["notes"] == [
        "Splits of the data set that are not used: extra.",
        "Features of the data set that are not used: mask, tags, box, camera, error.",
        "No example of the split validation has a label: it is not used.",
    ]


def test_a_feature_can_give_the_split_and_text_or_integers_the_label(plants):
    options = {"name": PLANTS, "data_dir": plants, "image": "photo", "splits": ("train",)}
    rows = source.rows(**options, split="part", label="site")
    assert rows["split"].value_counts().to_dict() == {"train": 2, "validation": 2, "test": 2}
    assert set(rows["label"]) == {"north", "south"}
    assert set(source.rows(**options, label="tree")["label"]) == {"0", "1", "2"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, r"source\.options\.image: expected a data set with one image .* photo \(an image\)"),
        ({"image": "foto"}, r"found 'foto'. There are: .*tags \(Sequence\)"),
        ({"image": "species"}, r"expected a feature that is an image, found species \(a class\)"),
        ({"image": "photo", "label": "tags"}, r"found tags \(Sequence\)\. Images with several labels"),
        ({"image": "photo", "label": "camera"}, r"found camera \(FeaturesDict\)"),
        ({"image": "photo", "label": "height"}, r"expected a feature that is a class or text .* height \(a number\)"),
        ({"image": "photo", "splits": ("valid",)}, r"source\.options\.splits: expected some of .*, found valid"),
    ],
)
def test_a_feature_that_does_not_fit_is_refused_with_the_list_of_all(plants, options, says):
    with pytest.raises(UsageError, match=says):
        source.rows(name=PLANTS, data_dir=plants, **options)


def test_examples_without_labels_and_unknown_names_of_splits_are_refused(plants):
    options = {"name": PLANTS, "data_dir": plants, "image": "photo"}
    with pytest.raises(DataError, match="expected examples with a label, found none in validation"):
        source.rows(**options, splits=("validation",))
    with pytest.raises(DataError, match="expected train, validation, test in site, found"):
        source.rows(**options, split="site")
