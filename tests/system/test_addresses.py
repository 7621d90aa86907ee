"""Photos on an object store and on a web server of this machine."""

import http.server
import io
import subprocess
import sys
import threading
from functools import partial

import boto3
import helpers
import pandas as pd
import pytest

from tasks.data import datasets, sources
from tasks.data.files import fact_table
from tasks.runtime.errors import DataError, DependencyError, UsageError
from tasks.runtime.store import photos
from tasks.settings import Images, Source

IMAGES = Images(size=32)


@pytest.fixture(scope="module")
def server():
    port = helpers.free_port()
    command = [sys.executable, "-m", "moto.server", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        helpers.answer(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def bucket(server, monkeypatch, tmp_path):
    """A client of an empty bucket `photos`, in the environment of a new home."""
    settings = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "s3cret", "AWS_REGION": "us-east-1"}
    for name, value in (settings | {"AWS_ENDPOINT_URL": server}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path / "home"))
    client = boto3.client("s3")
    client.create_bucket(Bucket="photos")
    for item in client.list_objects_v2(Bucket="photos").get("Contents", []):
        client.delete_object(Bucket="photos", Key=item["Key"])
    return client


def put(client, numbers, top="pets"):
    names = []
    for number in numbers:
        colour = ("red", "green")[number % 2]
        names.append(f"{top}/{colour}/{number} ä#%20.png")
        data = helpers.encoded(helpers.photo(helpers.COLOURS[colour], number), "PNG")
        client.put_object(Bucket="photos", Key=names[-1], Body=data)
    return names


def write(client, names):
    rows = pd.DataFrame({"image": [name.removeprefix("pets/") for name in names]})
    rows["label"] = rows["image"].str.split("/").str[0]
    buffer = io.BytesIO()
    rows.to_csv(buffer, index=False)
    client.put_object(Bucket="photos", Key="pets/table.csv", Body=buffer.getvalue())


@pytest.mark.parametrize("kind", ["folder", "manifest"])
def test_only_new_photos_of_a_bucket_are_read(bucket, kind):
    names = put(bucket, range(130))
    write(bucket, names)
    path = "s3://photos/pets" + ("/table.csv" if kind == "manifest" else "")
    source = Source(kind=kind, options={"path": path})
    before = sources.listing_digest(source)
    rows, read = fact_table.with_facts(sources.listing(source), IMAGES)
    assert (len(rows), read, rows["error"].isna().all()) == (130, 130, True)
    assert sources.listing_digest(source) == before
    write(bucket, names + put(bucket, range(130, 135)))
    assert sources.listing_digest(source) != before
    rows, read = fact_table.with_facts(sources.listing(source), IMAGES)
    assert (len(rows), read) == (135, 5)
    # The same size, another content: the etag tells.
    bucket.copy_object(Bucket="photos", Key=names[0], CopySource={"Bucket": "photos", "Key": names[2]})
    assert fact_table.with_facts(sources.listing(source), IMAGES)[1] == 1


def test_a_lost_copy_is_fetched_again_and_one_that_has_changed_is_refused(bucket):
    names = put(bucket, range(4))
    source = Source(kind="folder", options={"path": "s3://photos/pets"})
    rows, _ = fact_table.with_facts(sources.listing(source), IMAGES)
    assert photos.stored()[0]["rows"] == 4
    assert photos.prune(set(rows["key"][:1]), delete=True)[0]["rows"] == 3
    assert len(datasets.paths(rows)) == 4 == photos.stored()[0]["rows"]
    photos.prune((), delete=True)
    bucket.put_object(Bucket="photos", Key=names[1], Body=b"other")
    with pytest.raises(DataError, match="has changed"):
        datasets.paths(rows)


def test_a_table_names_photos_by_address_below_its_root_alone(bucket, tmp_path):
    name, _ = put(bucket, range(2))
    other, *_ = put(bucket, range(1), top="private")
    table = tmp_path / "t.csv"
    named = [
        f"s3://photos/{name}",
        "red/none.png",
        f"s3://photos/{other}",
        "../private/x",
        "s3://else/a.png",
        "ftp://a/b",
    ]
    named += ["https://user:s3cret@host/a.png"]
    pd.DataFrame({"image": named, "label": "red"}).to_csv(table, index=False)
    source = Source(kind="manifest", options={"path": str(table), "root": "s3://photos/pets"})
    rows, _ = fact_table.with_facts(sources.listing(source), IMAGES)
    found = [error or "" for error in rows["error"].where(rows["error"].notna(), None)]
    expected = ["", "no such file", "outside", "outside", "outside", "ftp://", "user or password"]
    assert all(text in error and bool(text) == bool(error) for text, error in zip(expected, found, strict=True)), found
    assert "s3cret" not in rows.to_csv()


def test_what_a_server_refuses_is_said(bucket, monkeypatch):
    with pytest.raises(DataError, match="Expected a bucket at s3://nothing"):
        sources.listing(Source(kind="folder", options={"path": "s3://nothing/pets"}))
    with pytest.raises(UsageError, match="ftp://"):
        sources.listing(Source(kind="folder", options={"path": "ftp://host/pets"}))
    with pytest.raises(UsageError, match="manifest"):
        sources.listing(Source(kind="folder", options={"path": "https://host/pets"}))
    with pytest.raises(UsageError, match="credentials") as error:
        Source(kind="folder", options={"path": "https://user:s3cret@host/pets"})
    assert "s3cret" not in str(error.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{helpers.free_port()}")
    with pytest.raises(DependencyError, match="does not"):
        sources.listing(Source(kind="folder", options={"path": "s3://photos/pets"}))


def test_a_table_of_photos_on_a_web_server(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path / "home"))
    web = helpers.photos(tmp_path / "web", each=2)
    files = [str(file.relative_to(web)) for file in sorted(web.glob("*/*.png"))]
    pd.DataFrame({"image": [*files, "gone.png"], "label": "x"}).to_csv(web / "t.csv", index=False)
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(web))
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{served.server_port}"
        for path in (f"{address}/t.csv", (web / "t.csv").as_uri()):
            rows, _ = fact_table.with_facts(sources.listing(Source(kind="manifest", options={"path": path})), IMAGES)
            assert rows["error"].isna().sum() == len(files) and "no such file" in rows["error"].iloc[-1].lower()
        served.shutdown()
