"""Folders, manifests and TFDS data sets, good and bad."""

import helpers
import pandas as pd
import pytest

from tasks.data.sources import folder, manifest, tfds
from tasks.runtime.errors import DataError, UsageError


def test_a_folder_lists_every_file_that_is_not_hidden(tmp_path):
    helpers.photos(tmp_path, each=2)
    (tmp_path / "red" / "deep").mkdir()
    helpers.photo((1, 2, 3), 9).save(tmp_path / "red" / "deep" / "x.png")
    (tmp_path / "red" / ".hidden").write_text("")
    (tmp_path / "red" / "stray.txt").write_text("")
    rows = folder.rows(path=tmp_path)
    assert rows["label"].value_counts().to_dict() == {"red": 4, "green": 2, "blue": 2}
    assert rows["split"].isna().all()


def test_the_layout_of_image_folder_fixes_the_split(tmp_path):
    for split in ("train", "val", "test"):
        helpers.photos(tmp_path / split, each=1)
    rows = folder.rows(path=tmp_path)
    assert set(rows["split"]) == {"train", "validation", "test"}
    assert set(rows["label"]) == {"red", "green", "blue"}


def test_a_link_out_of_the_folder_is_set_aside(tmp_path):
    helpers.photos(tmp_path / "photos", each=1)
    (tmp_path / "secret.png").write_bytes(b"")
    (tmp_path / "photos" / "red" / "link.png").symlink_to(tmp_path / "secret.png")
    rows = folder.rows(path=tmp_path / "photos").set_index("uri")
    assert rows.loc[rows["error"].notna(), "error"].tolist() == ["a link to a file outside the source"]


def test_a_missing_or_flat_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no folder at no/such/folder"):
        folder.rows(path=helpers.Path("no/such/folder"))
    (tmp_path / "photo.png").write_bytes(b"")
    with pytest.raises(DataError, match="one sub-folder of photos for each class"):
        folder.rows(path=tmp_path)


def _manifest(tmp_path, **columns):
    files = sorted(helpers.photos(tmp_path / "photos", each=2).rglob("*.png"))
    table = pd.DataFrame(
        {"file": [str(f.relative_to(tmp_path)) for f in files], "kind": ["007"] * 3 + ["x"] * 3} | columns
    )
    table.to_csv(tmp_path / "table.csv", index=False)
    return tmp_path / "table.csv", table


def test_a_manifest_keeps_labels_as_they_are_written_and_extra_columns(tmp_path):
    path, table = _manifest(tmp_path, patient=list("aabbcc"), part=["train"] * 4 + ["test"] * 2, camera=["c1"] * 6)
    rows = manifest.rows(path=path, image="file", label="kind", group="patient", split="part")
    assert rows["label"].tolist() == ["007"] * 3 + ["x"] * 3
    assert rows["group"].tolist() == list("aabbcc")
    assert rows["split"].tolist() == ["train"] * 4 + ["test"] * 2
    assert rows["camera"].tolist() == ["c1"] * 6
    assert all(helpers.Path(uri).is_file() for uri in rows["uri"])
    table.to_parquet(tmp_path / "table.parquet")
    same = manifest.rows(path=tmp_path / "table.parquet", image="file", label="kind", group="patient", split="part")
    pd.testing.assert_frame_equal(rows, same, check_dtype=False)


def test_a_parquet_table_that_pandas_has_reordered_keeps_every_column_with_its_photo(tmp_path):
    _, table = _manifest(tmp_path)
    own = table["file"].str.removesuffix(".png")
    table = table.assign(kind=own, patient="of " + own, part=["train", "validation", "test"] * 2, camera="by " + own)
    orders = {
        "shuffled": table.sample(frac=1, random_state=3),
        "filtered": table[table["part"] != "validation"],
        "joined": pd.concat([table[3:].reset_index(drop=True), table[:3].reset_index(drop=True)]),
        "sorted": table.sort_values("file", ascending=False),
        "named": table.sample(frac=1, random_state=3).set_index("file"),
        "by two": table.sample(frac=1, random_state=3).set_index(["kind", "file"]),
        "named like a column": table.sample(frac=1, random_state=3).set_index("file", drop=False),
    }
    options = {"image": "file", "label": "kind", "group": "patient", "split": "part"}
    parts = dict(zip(own, table["part"], strict=True))
    for name, order in orders.items():
        order.to_parquet(tmp_path / "order.parquet")
        rows = manifest.rows(path=tmp_path / "order.parquet", **options)
        assert len(rows) == len(order), name
        of = rows["uri"].str.removeprefix(f"{tmp_path}/").str.removesuffix(".png")
        assert rows["label"].tolist() == of.tolist(), name
        assert rows["group"].tolist() == ("of " + of).tolist(), name
        assert rows["split"].tolist() == of.map(parts).tolist(), name
        assert rows["camera"].tolist() == ("by " + of).tolist(), name
        assert not [column for column in rows if "index" in column or column.startswith("level")], name


def test_a_manifest_with_wrong_columns_splits_or_paths_is_refused(tmp_path):
    path, _ = _manifest(tmp_path, part=["train"] * 5 + ["dev"])
    with pytest.raises(
        UsageError, match=r"expected the columns \['image', 'label'\], found \['file', 'kind', 'part'\]"
    ):
        manifest.rows(path=path)
    with pytest.raises(DataError, match=r"found dev"):
        manifest.rows(path=path, image="file", label="kind", split="part")
    with pytest.raises(DataError, match=r"no file at nowhere\.csv"):
        manifest.rows(path=helpers.Path("nowhere.csv"))
    pd.DataFrame({"image": ["../outside.png"], "label": ["a"]}).to_csv(tmp_path / "out.csv", index=False)
    assert manifest.rows(path=tmp_path / "out.csv")["error"].tolist() == ["outside the manifest's root"]


def test_elpv_comes_out_of_its_package_with_probability_and_cell_type():
    rows = tfds.rows(name="elpv")
    assert len(rows) == 2624
    assert rows["label"].value_counts().to_dict() == {"functional": 1803, "defective": 821}
    assert ((rows["probability"] > 0.5) == (rows["label"] == "defective")).all()
    assert set(rows["cell_type"]) == {"mono", "poly"}
    assert rows["group"].isna().all()
    assert rows["split"].isna().all()


def test_a_data_set_that_tfds_does_not_know_is_refused():
    with pytest.raises(DataError, match="no_such_data_set"):
        tfds.rows(name="no_such_data_set")
