"""Labels corrected by a person: kept, changed, taken back, and never lost."""

import contextlib
import threading

import pandas as pd
import pytest
from trouble.damage import flip

from tasks.data import corrections
from tasks.records import Corrections
from tasks.runtime.errors import DataError, DependencyError, UsageError
from tasks.stages.data import ingest


def key(letter: str) -> str:
    """The key of an image, as sha256 writes it."""
    return letter * 64


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A home with a data set of four images, and the table of its audit."""
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path))
    images = pd.DataFrame(
        {"key": list(map(key, "abcd")), "label": ["cat", "cat", "dog", "dog"], "split": ["train"] * 3 + ["test"]}
    )
    images = images.assign(uri=[f"/{name}.png" for name in "abcd"], corrected_from=None)
    (tmp_path / "store/datasets/d1").mkdir(parents=True)
    images.to_parquet(tmp_path / "store/datasets/d1/images.parquet")
    suspects = images[["key", "uri", "split", "label"]].assign(recipe="pets", dataset="d1", corrected="")

    def write(**corrected: str):
        rows = suspects.assign(corrected=[corrected.get(each[0], "") for each in suspects["key"]])
        rows.to_csv(tmp_path / "suspects.csv", index=False)
        return tmp_path / "suspects.csv"

    return write


def test_corrections_are_kept_changed_and_taken_back(table):
    recipe, changes = corrections.apply(table(a="dog", d="cat"))
    assert recipe == "pets"
    assert [(c["uri"], c["split"], c["from"], c["to"]) for c in changes] == [
        ("/a.png", "train", "cat", "dog"),
        ("/d.png", "test", "dog", "cat"),
    ]
    assert corrections.from_corrections("pets") == Corrections({key("a"): "dog", key("d"): "cat"})
    assert corrections.apply(table(a="dog"))[1] == []
    assert corrections.recipes() == ["pets"]
    # Back to what the source says: no correction any more.
    assert [c["to"] for c in corrections.apply(table(d="dog"))[1]] == ["dog"]
    assert corrections.from_corrections("pets").labels == {key("a"): "dog"}
    assert [(c["from"], c["to"]) for c in corrections.undo(table(a="dog", b="dog"))[1]] == [("dog", "cat")]
    assert corrections.from_corrections("pets") == Corrections()
    assert corrections.recipes() == []


def test_what_a_person_has_filled_in_is_told_from_what_is_stored(table, tmp_path):
    assert corrections.unapplied(table()) == 0
    assert corrections.unapplied(table(a="dog", b="cat", d=" cat ")) == 2  # b is a cat already
    corrections.apply(table(a="dog"))
    assert corrections.unapplied(table(a="dog", d="cat")) == 1
    assert corrections.unapplied(table(a="dog")) == 0
    (tmp_path / "mine.txt").write_text("no table\n")
    with pytest.raises(UsageError, match="found no recipe"):
        corrections.unapplied(tmp_path / "mine.txt")


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda t: t.assign(corrected=""), DataError, "found none"),
        (lambda t: t.assign(key=["z", *t["key"][1:]]), DataError, "found 1 others, among them 'z'"),
        (lambda t: t.assign(corrected="horse"), DataError, "the classes cat, dog"),
        (lambda t: pd.concat([t, t.assign(corrected="cat")]), DataError, "several for 'aaa"),
        (lambda t: t.assign(dataset="elsewhere"), DataError, "which is not in"),
        (
            lambda t: t.assign(recipe=["x", *t["recipe"][1:]], corrected="dog"),
            DataError,
            "one value in the column recipe",
        ),
        (lambda t: t.drop(columns="recipe"), UsageError, "found no recipe"),
    ],
)
def test_a_wrong_table_changes_nothing_and_says_why(table, change, error, says):
    file = table(a="dog")
    change(pd.read_csv(file, dtype=str, keep_default_na=False)).to_csv(file, index=False)
    with pytest.raises(error, match=says):
        corrections.apply(file)
    assert corrections.recipes() == []
    with pytest.raises(UsageError, match="expected the label_suspects"):
        corrections.apply(file.with_name("nothing.csv"))


def test_ingest_reads_corrections_and_keeps_what_the_source_says():
    rows = pd.DataFrame({"key": list("abc"), "label": ["cat", "dog", "dog"]})
    found = corrections.corrected(rows, Corrections({"a": "dog", "b": "dog", "gone": "cat"}))
    assert found["label"].tolist() == ["dog", "dog", "dog"]
    assert found["corrected_from"].tolist() == ["cat", None, None]
    kinds = [Corrections(), Corrections({"a": "dog"}), Corrections({"a": "cat"}), Corrections({"b": "dog"})]
    assert len({ingest.digest(kind) for kind in kinds}) == len(kinds)


def test_corrections_that_are_applied_at_once_are_all_kept(table, monkeypatch):
    files = [table(**{letter: "dog" if letter in "ab" else "cat"}).read_text() for letter in "abcd"]
    both, read = threading.Barrier(4), corrections.kept

    def slowly(recipe):
        """All have read before one writes, unless each waits for the one before."""
        found = read(recipe)
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.3)
        return found

    monkeypatch.setattr(corrections, "kept", slowly)
    threads = []
    for number, text in enumerate(files):
        file = table().with_name(f"{number}.csv")
        file.write_text(text)
        threads.append(threading.Thread(target=corrections.apply, args=(file,)))
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(corrections.from_corrections("pets").labels) == list(map(key, "abcd"))


def kept_file(tmp_path):
    return tmp_path / "labels" / "pets.csv"


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: flip(file, b"aaaa"),
        lambda file: flip(file, b"crc32"),
        lambda file: file.write_bytes(file.read_bytes()[:150]),
        lambda file: file.write_bytes(file.read_bytes()[: file.read_bytes().rindex(b"dddd")]),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(bytes(range(128, 256))),
        lambda file: file.write_text("name,colour\nx,y\n"),
        lambda file: file.write_text(f"key,uri,label,corrected\n{key('a')},/a.png,cat,\n"),
        lambda file: file.write_text(f"key,uri,label,corrected\n{key('a')[1:]},/a.png,cat,dog\n"),
        lambda file: file.write_text("key,uri,label,corrected\n" + f"{key('a')},/a.png,cat,dog\n" * 2),
    ],
)
def test_damaged_corrections_are_named_and_never_less_than_they_were(table, tmp_path, damage):
    corrections.apply(table(a="dog", d="cat"))
    damage(kept_file(tmp_path))
    before = kept_file(tmp_path).read_bytes()
    for use in (
        lambda: corrections.from_corrections("pets"),
        lambda: corrections.apply(table(b="dog")),
        lambda: corrections.undo(table(a="dog")),
    ):
        with pytest.raises(DependencyError, match=r"labels/pets\.csv: expected .*corrected labels.*backup"):
            use()
    assert kept_file(tmp_path).read_bytes() == before


def test_corrections_of_an_older_release_or_changed_by_a_person_are_read_and_get_a_checksum(table, tmp_path):
    corrections.apply(table(a="dog"))
    _, _, rows = kept_file(tmp_path).read_text().partition("\n")
    kept_file(tmp_path).write_text(rows)
    assert corrections.from_corrections("pets").labels == {key("a"): "dog"}
    corrections.apply(table(b="dog"))
    assert corrections.from_corrections("pets").labels == {key("a"): "dog", key("b"): "dog"}
    flip(kept_file(tmp_path), b"aaaa")
    with pytest.raises(DependencyError):
        corrections.kept("pets")
