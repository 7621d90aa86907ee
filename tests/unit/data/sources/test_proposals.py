"""What `headstart init` makes of folders and tables that nobody has described, without a run."""

import os
import shutil
import tomllib

import helpers
import pandas as pd
import pytest

from flows.recipes import draft
from tasks import settings
from tasks.data.sources.proposals.look import propose
from tasks.runtime.errors import UsageError
from tasks.settings import writing


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with a home of its own."""
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path / ".headstart"))
    (tmp_path / ".headstart").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _table(here, **columns):
    files = sorted(helpers.photos(here / "photos", each=4).rglob("*.png"))
    table = pd.DataFrame({"number": range(12), "foto": [str(f.relative_to(here)) for f in files]} | columns)
    table.to_csv(here / "t.csv", index=False)
    return table


#: A folder whose name TOML must escape.
ODD = 'F\u00f6tos "2" \\ \n a'
KINDS = ["oak", "elm", "ash"] * 4


def test_a_folder_becomes_a_recipe_that_says_what_was_found(here):
    helpers.photos(here / ODD, each=4)
    for name in ("Red ", "empty"):
        (here / ODD / name).mkdir()
    helpers.photo((1, 2, 3), 1).save(here / ODD / "Red " / "x.png")
    made = draft.write(ODD, [], None, False)
    assert (str(made.file), made.recipe.name) == ("Fotos-2-a.toml", "Fotos-2-a")
    assert made.found.classes == {"Red ": 1, "blue": 4, "green": 4, "red": 4}
    said = " ".join(made.sentences)
    for text in ("no class 'empty'", "set aside (split.rare): Red  (1)", "'Red ' and 'red'"):
        assert text in said
    text = made.file.read_text()
    schema = text.splitlines()[0].removeprefix("#:schema ")
    assert (made.file.parent / schema).read_text() == writing.schema()
    assert settings.load(made.file) == made.recipe
    assert all("  # " in line for line in text.splitlines() if " = " in line)
    with pytest.raises(UsageError, match=r"Expected no file at Fotos-2-a\.toml, found one\. .*--force"):
        draft.write(ODD, [], None, False)
    draft.write(ODD, ["split.test=0.3"], None, True)
    assert settings.load(made.file).split.test == 0.3


def test_the_columns_of_a_table_are_guessed(here):
    _table(here, kind=KINDS, part=["Training", "val", "test"] * 4, **{"patient id": list("aabbccddeeff")})
    found = propose("t.csv", {})
    assert (found.name, found.source.kind) == ("t", "manifest")
    expected = {"path": "t.csv", "image": "foto", "label": "kind", "split": "part", "group": "patient id"}
    assert found.source.options == expected
    assert set(found.why) >= {f"source.options.{name}" for name in expected}
    # The only table beside one folder is meant as well, by the folder's name.
    assert propose(".", {}).source.options["path"] == "./t.csv"


def test_images_inside_a_table_and_an_address_of_tfds_are_known(here):
    data = [{"bytes": helpers.encoded(helpers.photo((9, 9, n * 20), n), "PNG"), "path": None} for n in range(6)]
    pd.DataFrame({"image": data, "label": [0, 1] * 3}).to_parquet(here / "inside.parquet")
    assert propose("inside.parquet", {}).source.options == {
        "path": "inside.parquet",
        "contents": "image",
        "label": "label",
    }
    assert propose("tfds:digits", {}).source == settings.Source(kind="tfds", options={"name": "digits"})


def test_what_cannot_be_guessed_is_asked_for_with_the_list_of_columns(here):
    _table(here, kind=KINDS, camera=["left", "right"] * 6)
    with pytest.raises(UsageError, match=r"source\.options\.label=COLUMN\..* kind \(3 values, such as oak\); camera"):
        propose("t.csv", {})
    assert propose("t.csv", {"label": "camera"}).source.options["label"] == "camera"
    pd.DataFrame({"a": KINDS, "b": KINDS}).to_csv(here / "u.csv", index=False)
    with pytest.raises(UsageError, match=r"source\.options\.image=COLUMN"):
        propose("u.csv", {})
    for wrong in ("source=1", "source.options=1"):
        with pytest.raises(UsageError, match=r"source\.options is a table"):
            draft.write("t.csv", [wrong], None, False)
    for path, says in (
        ("nowhere", "found none at nowhere"),
        (f"photos/red/{helpers.Path('red 0.png')}", "found the file"),
    ):
        with pytest.raises(UsageError, match=says):
            propose(path, {})


def test_the_encoding_of_a_table_is_guessed_told_and_written(here):
    _table(here, label=["pi\u00f1ata", "\u00e9t\u00e9", "Hund"] * 4).to_csv("t.csv", index=False, encoding="cp1252")
    made = draft.write("t.csv", [], None, False)
    assert made.found.classes == {"Hund": 4, "pi\u00f1ata": 4, "\u00e9t\u00e9": 4}
    assert 'encoding = "cp1252"  # a guess, as the table is not UTF-8' in made.file.read_text(encoding="utf-8")
    assert [said for said in made.sentences if "words such as 'pi\u00f1ata', '\u00e9t\u00e9'" in said]
    named = draft.write("t.csv", ["source.options.encoding=mac_roman"], None, True)
    assert named.recipe.source.options["encoding"] == "mac_roman"
    assert not named.found.notes


def test_a_line_with_too_many_cells_does_not_change_what_a_column_is(here):
    table = _table(here, part=["train", "val", "test"] * 4, label=KINDS)
    (here / "t.csv").write_text(table.to_csv(index=False) + "12,x.png,oh,no,oak\n")
    assert propose("t.csv", {}).source.options["split"] == "part"


def test_few_of_many_columns_are_listed(here):
    pd.DataFrame({f"column {n}": ["x"] for n in range(80)}).to_csv(here / "t.csv", index=False)
    with pytest.raises(UsageError, match=r"column 11 \(1 values, such as x\); and 68 more\."):
        propose("t.csv", {})


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("s3x://foo", r"PATH: expected a path or an address, found an address that begins with s3x://; expected s3, "),
        ("s3://foo/pets", r'kind = "folder", options = \{ path = "s3://foo/pets" \}'),
        ("https://foo/pets.csv", r'kind = "manifest", options = \{ path = "https://foo/pets.csv" \}'),
        ("https://foo/pets", r'kind = "manifest", options = \{ path = "TABLE.csv", root = "https://foo/pets" \}'),
    ],
)
def test_an_address_is_refused_with_what_to_write_by_hand(address, says):
    with pytest.raises(UsageError, match=says):
        propose(address, {})


def test_a_local_address_is_a_path_and_one_class_is_one(here):
    helpers.photos(here / "photos", each=1, classes=("red",))
    made = draft.write((here / "photos").as_uri(), [], None, False)
    assert made.title == f"{here / 'photos'}: 1 image, 1 class"


def test_any_text_is_written_as_toml():
    odd = 'a "b" \\ \u2028 \x7f\x00\n\t\U0001f600 # x'
    values = {
        "name": "n",
        "source": {"options": {odd: odd, "list": [1, 0.5, True, {"k y": odd}]}},
        "x": {"y": {"z": 1}},
    }
    text = writing.toml(values, {"name": f"why {odd}"}, "./s", odd)
    assert tomllib.loads(text) == values
    with pytest.raises(UsageError, match="Expected text in UTF-8"):
        writing.toml({"name": "\udce9"}, {}, "./s", "")


def test_a_pipe_is_no_table_and_none_beside_photos(tmp_path):
    helpers.photos(tmp_path / "one", each=1)
    shutil.rmtree(tmp_path / "one" / "red")
    shutil.rmtree(tmp_path / "one" / "blue")
    os.mkfifo(tmp_path / "one" / "table.csv")
    with pytest.raises(UsageError, match=r"Expected a folder of photos, a table .* found none at"):
        propose(str(tmp_path / "one" / "table.csv"), {})
    assert propose(str(tmp_path / "one"), {}).source.kind == "folder"
