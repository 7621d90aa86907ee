"""Tables as sources: encodings, separators, columns, and rows that name no file."""

import helpers
import pandas as pd
import pytest

from tasks.data.sources import manifest
from tasks.runtime.errors import DataError, UsageError


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


LATIN = "pi\u00f1ata", "\u00e9t\u00e9", "\u00d8rsted", "Se\u00f1or", "Hund"


def _latin(tmp_path, encoding="cp1252", words=LATIN):
    path = tmp_path / "t.csv"
    path.write_bytes("".join(["image,label\n", *(f"a.png,{word}\n" for word in words * 8)]).encode(encoding))
    return path


def test_latin_letters_are_read_as_most_programs_write_them_and_shown(tmp_path):
    rows = manifest.rows(path=_latin(tmp_path))
    assert tuple(rows["label"][:5]) == LATIN
    assert rows.attrs["notes"] == [
        "t.csv is not UTF-8: it was read as cp1252, with words such as 'pi\u00f1ata', '\u00e9t\u00e9', '\u00d8rsted'. "
        "If that looks wrong, name the encoding in source.options.encoding."
    ]


def test_a_guess_is_made_of_the_bytes_that_are_not_ascii(tmp_path):
    path = _latin(tmp_path, words=("cat",) * 20_000 + LATIN)
    assert "was read as cp1252" in manifest.rows(path=path).attrs["notes"][0]


def test_a_person_may_name_the_encoding(tmp_path):
    words = "ko\u010dka", "\u0142o\u015b", "pes"
    rows = manifest.rows(path=_latin(tmp_path, "cp1250", words), encoding="cp1250")
    assert tuple(rows["label"][:3]) == words
    assert rows.attrs["notes"] == []
    assert tuple(manifest.rows(path=_latin(tmp_path, "utf-8-sig"), encoding="utf-8")["label"][:5]) == LATIN
    with pytest.raises(DataError, match=r"expected text in utf-8, found other bytes at 20\..*options\.encoding"):
        manifest.rows(path=_latin(tmp_path), encoding="utf-8")
    for unknown in ("cp9999", "base64", "a\0b"):
        with pytest.raises(UsageError, match=r"source\.options\.encoding: expected an encoding that Python knows"):
            manifest.rows(path=_latin(tmp_path), encoding=unknown)


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
        ("t.csv", b"\xef\xbb\xbf", "found an empty file"),
        ("t.csv", b'""\n', "found blank cells only"),
        ("t.csv", b"\0" * 500, "found zero bytes: it is no text"),
        ("t.csv", "image,label\n".encode("utf-16-le"), "UTF-16 without a mark"),
        (
            "t.csv",
            b"image,label\na.png,x,y,z\n",
            "line 1: expected the names of the 4 columns.* 'image', 'label'",
        ),
        (
            "t.csv",
            b"# my photos\n\nimage;label\n" + b"a.png;x\n" * 9,
            r"line 1: .* '# my photos'\. If their names are in line 3 \('image', 'label'\), delete the lines",
        ),
        (
            "t.csv",
            b'image,label\na.png,x\n"b.png,x\nc.png,y\n',
            "line 3: expected a second quote.*: '\"b.png,x'. Remove",
        ),
        ("t.csv", b'image,label\na.png,"x\n' + b"b.png,y\n" * 20000, "line 2: expected cells of at most"),
        ("t.json", b'[{"image": "a.png",\n "label": "x"}]', r"a JSON list; write one object per line \(JSON lines\)"),
        ("t.parquet", b"PAR1 not", "found a broken file"),
        ("t.jsonl", b'{"image": 1}\n{', "expected a JSON object in line 2"),
        ("t.jsonl", b"7" * 999, "in line 1, found '7{60}'"),
    ],
)
def test_a_broken_table_is_refused_in_plain_words(tmp_path, file, data, says):
    (tmp_path / file).write_bytes(data)
    with pytest.raises(DataError, match=says) as refused:
        manifest.rows(path=tmp_path / file)
    assert len(str(refused.value)) < 400 + len(str(tmp_path))


LONG = {
    "among others": 'image,label\na.png,x\n\nb.png,x,,\nc.png,x,y,test\nd.png,"y,z"\n',
    "the first": 'image,label\nc.png,x,y,test\na.png,x\nb.png,x\nd.png,"y,z"\n',
}


@pytest.mark.parametrize("lines", LONG.values(), ids=LONG)
def test_a_line_with_too_many_cells_is_set_aside_and_the_others_are_used(tmp_path, lines):
    (tmp_path / "t.csv").write_text(lines)
    rows = manifest.rows(path=tmp_path / "t.csv").set_index("uri").rename(index=lambda uri: helpers.Path(uri).name)
    number = 1 + lines.splitlines().index("c.png,x,y,test")
    assert rows["error"].dropna().to_dict() == {"c.png": f"line {number}: expected 2 cells, found 4"}
    assert rows["label"].dropna().to_dict() == {"a.png": "x", "b.png": "x", "d.png": "y,z"}


def test_cells_in_wrong_columns_of_a_line_that_is_set_aside_are_not_used(tmp_path):
    (tmp_path / "t.csv").write_text("image,label,split,who\na.png,x,train,1\nb.png,x,test,2\nc.png,x,y,test,3\n")
    rows = manifest.rows(path=tmp_path / "t.csv", split="split", group="who")
    assert rows[["label", "split", "group"]].iloc[2].isna().all()
    assert rows["split"].dropna().tolist() == ["train", "test"]


def test_a_list_is_no_label(tmp_path):
    lines = '{"image": "a", "label": ["cat"]}\n{"image": "b", "label": "cat"}\n{"image": "c", "label": {"x": 1}}'
    (tmp_path / "t.jsonl").write_text(lines)
    rows = manifest.rows(path=tmp_path / "t.jsonl")
    assert rows["error"].dropna().to_dict() == {
        0: "expected one label, found list ['cat']",
        2: "expected one label, found dict {'x': 1}",
    }
    assert rows["label"].dropna().to_dict() == {1: "cat"}


def test_text_in_a_json_table_may_hold_characters_that_end_lines_elsewhere(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"image": "a.png", "label": "x\u2028y"}\r\n', encoding="utf-8", newline="")
    assert manifest.rows(path=tmp_path / "t.jsonl")["label"].tolist() == ["x\u2028y"]


def test_a_column_that_is_there_twice_is_refused_if_it_is_used(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("image,label,note, label ,note,note.1\na.png,x,1,y,2,3\n")
    with pytest.raises(UsageError, match=r"t\.csv: expected one column for each name, found several .* 'label'"):
        manifest.rows(path=path)
    path.write_text("image,label,note,note\na.png,x,1,2\n")
    assert manifest.rows(path=path)["note.1"].tolist() == ["2"]


def test_a_column_whose_name_differs_in_case_is_hinted_at_and_long_lists_are_cut(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("Image,LABEL\na.png,x\n")
    with pytest.raises(
        UsageError, match=r'Did you mean source\.options\.image = "Image", source\.options\.label = "LABEL"'
    ):
        manifest.rows(path=path)
    path.write_text(",".join(f"column {n} {'x' * 99}" for n in range(80)))
    with pytest.raises(UsageError, match=r"found 'column 0 x+\.\.\.', .* and 68 more\. A recipe") as refused:
        manifest.rows(path=path)
    assert len(str(refused.value)) < 1200


def test_a_blank_column_of_groups_is_told(tmp_path):
    (tmp_path / "t.csv").write_text("image,label,who\na.png,x,\nb.png,y,\n")
    rows = manifest.rows(path=tmp_path / "t.csv", group="who")
    assert rows.attrs["notes"] == ["The column 'who' of t.csv is blank: no images are kept together."]


def test_a_manifest_with_wrong_columns_splits_or_paths_is_refused(tmp_path):
    path, _ = _manifest(tmp_path, part=["train"] * 5 + ["holdout"])
    with pytest.raises(UsageError, match="expected the columns 'image', 'label', found 'file', 'kind', 'part'"):
        manifest.rows(path=path)
    with pytest.raises(DataError, match=r"found 'holdout'"):
        manifest.rows(path=path, image="file", label="kind", split="part")
    with pytest.raises(DataError, match=r"neither at .*nowhere\.csv"):
        manifest.rows(path=helpers.Path("nowhere.csv"))
    pd.DataFrame({"image": ["../outside.png"], "label": ["a"]}).to_csv(tmp_path / "out.csv", index=False)
    assert manifest.rows(path=tmp_path / "out.csv")["error"].tolist() == [f"outside the table's root {tmp_path}"]
