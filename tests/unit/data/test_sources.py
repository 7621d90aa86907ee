"""Folders, manifests and TFDS data sets, good and bad."""

import os

import helpers
import pandas as pd
import pytest

from tasks.data import sources
from tasks.data.sources import files, folder, manifest, tfds
from tasks.runtime.errors import DataError, UsageError
from tasks.runtime.store import remote
from tasks.settings import Source


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


@pytest.mark.parametrize("names", [("Training", "Testing"), ("TRAIN", "Valid", "test"), ("train", "dev", "Test")])
@pytest.mark.parametrize("wrapper", ["", "archive"])
def test_split_folders_are_known_in_any_case_one_level_deep_or_two(tmp_path, names, wrapper):
    for name in names:
        helpers.photos(tmp_path / wrapper / name, each=1)
    rows = folder.rows(path=tmp_path)
    assert set(rows["label"]) == {"red", "green", "blue"}
    assert set(rows["split"]) == {
        "test" if n.lower().startswith("test") else "train" if n.lower().startswith("train") else "validation"
        for n in names
    }


def test_splits_beside_other_folders_are_refused(tmp_path):
    for name in ("train", "test", "unlabelled"):
        helpers.photos(tmp_path / name, each=1)
    with pytest.raises(DataError, match=r"expected classes or splits in .*found both: unlabelled beside test, train"):
        folder.rows(path=tmp_path)


@pytest.mark.parametrize("wrapper", ["", "archive"])
def test_splits_below_the_classes_are_the_splits(tmp_path, wrapper):
    for place in ("cat/TRAIN", "cat/Valid", "cat/Test", "dog/training", "dog/val", "dog/dev"):
        helpers.photo((1, 2, 3), 1).save(_made(tmp_path / wrapper / place) / "x.png")
    rows = folder.rows(path=tmp_path)
    assert rows.groupby(["label", "split"]).size().to_dict() == {
        **{("cat", split): 1 for split in ("test", "train", "validation")},
        **{("dog", "train"): 1, ("dog", "validation"): 2},
    }


def test_folders_behind_an_address_are_read_as_local_ones(tmp_path, monkeypatch):
    names = ["cat/TRAIN/a", "cat/Test/b", "dog/train/__MACOSX/x", "dog/train/c/d", "cat/Thumbs.db", "dog/e", "f"]
    monkeypatch.setattr(remote, "listed", lambda root: [(f"{root}/{name}", 1, 1) for name in names])
    for name in names:
        (_made((tmp_path / name).parent) / helpers.Path(name).name).write_bytes(b"")
    far, near = folder.rows(path="s3://b/p"), folder.rows(path=tmp_path)
    assert sorted(far["uri"].str.removeprefix("s3://b/p")) == sorted(near["uri"].str.removeprefix(str(tmp_path)))
    columns = ["label", "split"]
    assert far[columns].value_counts().to_dict() == near[columns].value_counts().to_dict()
    assert far.attrs["notes"] == [
        "2 loose files in s3://b/p, such as s3://b/p/dog/e, are in no class: they are not used."
    ]


@pytest.mark.parametrize(
    ("places", "says"),
    [
        (("cat/train", "cat/test", "dog"), r"found no folders in dog; test, train in cat\. Move"),
        (("cat/train", "cat/extra", "dog/x"), r"found extra, train in cat\. Move"),
        (("test/cat", "test/dog"), r"found only test images: add train/"),
        (("validation/cat", "validation/dog"), r"found only validation images: add train/"),
        (("test/cat", "val/cat"), r"found only validation and test images: add train/"),
        (("cat/test", "dog/test"), r"found only test images: add train/"),
        (("train", "test"), r"one sub-folder of photos for each class in test, train of"),
    ],
)
def test_splits_that_cannot_be_used_are_refused(tmp_path, places, says):
    for place in places:
        (_made(tmp_path / place) / "x.png").write_bytes(b"")
    with pytest.raises(DataError, match=says):
        folder.rows(path=tmp_path)


def test_an_archive_with_the_name_of_a_split_is_no_split(tmp_path):
    for place in ("test/train", "test/val"):
        helpers.photos(tmp_path / place, each=1)
    assert set(folder.rows(path=tmp_path)["split"]) == {"train", "validation"}


def test_the_litter_of_systems_is_passed_over(tmp_path):
    helpers.photos(tmp_path, each=2)
    for place in ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "red/@eaDir"):
        (_made(tmp_path / place) / "x.png").write_bytes(b"")
    for name in ("Thumbs.db", "red/Desktop.ini", "red/thumbs.db", ".DS_Store"):
        (tmp_path / name).write_bytes(b"")
    rows = folder.rows(path=tmp_path)
    assert (len(rows), set(rows["label"]), rows.attrs["notes"]) == (6, {"red", "green", "blue"}, [])
    assert len(files.rows(path=tmp_path)) == 6


def _made(place):
    place.mkdir(parents=True, exist_ok=True)
    return place


def test_hidden_folders_are_left_out_and_loose_files_and_empty_folders_are_named(tmp_path):
    helpers.photos(tmp_path, each=2)
    helpers.photos(tmp_path / "red" / ".ipynb_checkpoints", each=1)
    (tmp_path / "fox").mkdir()
    (tmp_path / "loose.png").write_bytes(b"")
    rows = folder.rows(path=tmp_path)
    assert len(rows) == 6
    assert rows.attrs["notes"] == [
        f"1 loose files in {tmp_path}, such as loose.png, are in no class: they are not used.",
        f"The folder {tmp_path / 'fox'} has no files: there is no class 'fox'.",
    ]


def test_linked_folders_are_followed_inside_the_source_once_and_set_aside_outside(tmp_path):
    helpers.photos(tmp_path / "photos", each=2)
    helpers.photos(tmp_path / "store", each=1)
    (tmp_path / "photos" / "red" / "again").symlink_to(tmp_path / "photos" / "red")
    (tmp_path / "photos" / "red" / "blue").symlink_to(tmp_path / "photos" / "blue")
    (tmp_path / "photos" / "red" / "more").symlink_to(tmp_path / "store")
    rows = folder.rows(path=tmp_path / "photos")
    red = rows[rows["label"] == "red"]
    assert red["error"].isna().sum() == 2 + 2
    assert red["error"].dropna().str.contains("outside the source").sum() == 3


def test_a_file_name_that_is_not_utf_8_is_set_aside(tmp_path):
    helpers.photos(tmp_path, each=1)
    (tmp_path / "red" / os.fsdecode(b"caf\xe9.png")).write_bytes(b"x")
    rows = sources.listing(Source(kind="folder", options={"path": str(tmp_path)}))
    assert rows["error"].dropna().tolist() == ["a file name that is not UTF-8: rename the file"]
    assert sources.listing_digest(Source(kind="folder", options={"path": str(tmp_path)}))


LABELS = ["K\u00e4tzchen", "Hund", "a,b", "=cmd", "007", "NA"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables_in_any_usual_encoding_and_with_any_usual_separator_are_read(tmp_path, encoding, separator):
    _, table = _manifest(tmp_path)
    table["label"] = LABELS
    path = tmp_path / "t.csv"
    path.write_bytes(table.to_csv(index=False, sep=separator, lineterminator="\r\n").encode(encoding))
    rows = manifest.rows(path=path, image="file")
    assert rows["label"].tolist() == LABELS
    assert rows["error"].isna().all()


def test_other_alphabets_are_recognised_and_told(tmp_path):
    _, table = _manifest(tmp_path)
    words = [
        "\u043a\u043e\u0448\u043a\u0430",
        "\u0441\u043e\u0431\u0430\u043a\u0430",
        "\u043b\u043e\u0448\u0430\u0434\u044c",
    ]
    table["label"] = words * 2
    (tmp_path / "t.csv").write_bytes(table.to_csv(index=False).encode("cp1251"))
    rows = manifest.rows(path=tmp_path / "t.csv", image="file")
    assert rows["label"].tolist() == words * 2
    assert "was read as cp1251" in rows.attrs["notes"][0]


def test_json_lines_and_hugging_faces_metadata_are_tables(tmp_path):
    _, table = _manifest(tmp_path)
    table = table.rename(columns={"file": "file_name", "kind": "label"})
    table.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    table.to_csv(tmp_path / "metadata.csv", index=False)
    for path in (tmp_path / "t.jsonl", tmp_path):
        rows = manifest.rows(path=path)
        assert rows["label"].tolist() == ["007"] * 3 + ["x"] * 3
        assert all(helpers.Path(uri).is_file() for uri in rows["uri"])


def test_images_inside_a_parquet_table_are_read_if_the_recipe_says_so(tmp_path):
    _, table = _manifest(tmp_path)
    data = [(tmp_path / file).read_bytes() for file in table["file"]]
    for cells in (data, [{"bytes": each, "path": "x.png"} for each in data]):
        pd.DataFrame({"image": cells, "label": table["kind"]}).to_parquet(tmp_path / "inside.parquet")
        rows = manifest.rows(path=tmp_path / "inside.parquet", contents="image")
        assert [helpers.Path(uri).read_bytes() for uri in rows["uri"]] == data
        assert rows["error"].isna().all()
        assert manifest.rows(path=tmp_path / "inside.parquet")["error"].str.contains("source.options.contents").all()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "no file name"),
        ("  ", "no file name"),
        ("s3://bucket/a.jpg", "an address, not a file"),
        ("file:///tmp/a.jpg", "an address, not a file"),
        ("../outside.png", "outside the table's root"),
        ("photos\\red\\red 0.png", "a path with backslashes"),
    ],
)
def test_a_name_that_is_no_file_inside_the_root_is_set_aside_with_the_reason(tmp_path, name, reason):
    _manifest(tmp_path)
    pd.DataFrame({"image": [name], "label": ["a"]}).to_parquet(tmp_path / "t.parquet")
    assert reason in manifest.rows(path=tmp_path / "t.parquet")["error"][0]


@pytest.mark.parametrize(
    ("file", "data", "says"),
    [
        ("t.csv", b"", "found an empty file"),
        ("t.csv", b"image,label\na.png,x,y,z\n", "expected a table with one header line"),
        ("t.parquet", b"PAR1 not", "found a broken file"),
        ("t.jsonl", b'{"image": 1}\n{', "expected a JSON object in line 2"),
    ],
)
def test_a_broken_table_is_refused_in_plain_words(tmp_path, file, data, says):
    (tmp_path / file).write_bytes(data)
    with pytest.raises(DataError, match=says):
        manifest.rows(path=tmp_path / file)


def test_labels_that_look_the_same_are_recognised():
    alike = ["cat", "Cat ", " c\u0061t\u200b", "CAT"]
    assert {sources.normalised(label) for label in alike} == {"cat"}
    assert sources.normalised("caf\u00e9") == sources.normalised("cafe\u0301") != sources.normalised("cafe")


def test_a_manifest_with_wrong_columns_splits_or_paths_is_refused(tmp_path):
    path, _ = _manifest(tmp_path, part=["train"] * 5 + ["holdout"])
    with pytest.raises(UsageError, match="expected the columns 'image', 'label', found 'file', 'kind', 'part'"):
        manifest.rows(path=path)
    with pytest.raises(DataError, match=r"found holdout"):
        manifest.rows(path=path, image="file", label="kind", split="part")
    with pytest.raises(DataError, match=r"neither at .*nowhere\.csv"):
        manifest.rows(path=helpers.Path("nowhere.csv"))
    pd.DataFrame({"image": ["../outside.png"], "label": ["a"]}).to_csv(tmp_path / "out.csv", index=False)
    assert manifest.rows(path=tmp_path / "out.csv")["error"].tolist() == [f"outside the table's root {tmp_path}"]


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
