"""Ingest: list the source's photos, and read those that are new: once, for their facts and their prepared squares."""

from tasks.data import sources
from tasks.data.corrections import corrected
from tasks.data.files import fact_table
from tasks.records import Corrections, FactsRef, digest
from tasks.runtime.store import folders
from tasks.services.orchestration.stage import stage
from tasks.settings import Images, Labels, Source

NONE = Corrections()


@stage(version=5, reads=lambda source, images, labels, corrections=NONE: sources.listing_digest(source))
def ingest(source: Source, images: Images, labels: Labels, corrections: Corrections = NONE) -> FactsRef:
    """Facts table: one row per image with `key, uri, label, group, split`, facts, and the source's own as `slice_…`.

    `split` is what the source gives. If a person has corrected a label, `corrected_from` holds the source's label.
    """
    listed = sources.listing(source)
    notes = tuple(listed.attrs[sources.NOTES])
    if labels.normalise:
        listed["label"] = listed["label"].map(sources.normalised, na_action="ignore")
    rows, read = fact_table.with_facts(listed, images)
    rows = corrected(rows, corrections)
    content = digest(rows.drop(columns="mtime").to_csv(index=False), notes)
    with folders.folder("facts", content) as (working, relative):
        rows.to_parquet(working / "facts.parquet")
    return FactsRef(f"{relative}/facts.parquet", content, len(rows), int(rows["error"].notna().sum()), notes, read)
