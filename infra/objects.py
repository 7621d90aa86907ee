"""Copy all files of an object store or a folder to another one, under the same names.

    python infra/objects.py s3://mlflow /backups/objects

A place is an address, `s3://BUCKET` or `gs://BUCKET`, with the key and the endpoint in the environment (`AWS_…`,
`GOOGLE_APPLICATION_CREDENTIALS`), or a folder, which is made. What the target has besides stays.
"""

import sys
from pathlib import Path

import obstore
from obstore.store import LocalStore, ObjectStore, from_url


def place(address: str) -> ObjectStore:
    """The store behind an address or a path."""
    return from_url(address) if "://" in address else LocalStore(Path(address).absolute(), mkdir=True)


def main(source: str, target: str) -> None:
    """Copy, and say how many files there were."""
    there, here = place(source), place(target)
    count = 0
    for files in obstore.list(there):
        for file in files:
            # In pieces: a network may be larger than the memory.
            with obstore.open_writer(here, file["path"]) as copy:
                for piece in obstore.get(there, file["path"]):
                    copy.write(piece)
            count += 1
    print(f"{count} files copied.")


if __name__ == "__main__":
    main(*sys.argv[1:])
