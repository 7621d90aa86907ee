"""Folders as sources: which files are photos, of which class and split."""

import os

import helpers
import pytest

from tasks.data import sources
from tasks.data.sources import files, folder
from tasks.runtime.errors import DataError
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


def test_a_link_in_a_circle_is_a_row_like_any_other_file(tmp_path):
    helpers.photos(tmp_path, each=1)
    (tmp_path / "red" / "loop.png").symlink_to("loop.png")
    for rows in (folder.rows(path=tmp_path), files.rows(path=tmp_path)):
        assert rows.loc[rows["uri"].str.endswith("loop.png"), "error"].tolist() == [None]
