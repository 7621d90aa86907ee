"""Ingest: list the source's photos, read the facts of those that are new, draw the split."""

from tasks.data import fact_table, sources, splits
from tasks.data.corrections import corrected
from tasks.records import Corrections, FactsRef, digest
from tasks.runtime.store import folders
from tasks.services.orchestration.stage import stage
from tasks.settings import Images, Source, Split

NONE = Corrections()


@stage(version=3, reads=lambda source, split, images, corrections=NONE: sources.listing_digest(source))
def ingest(source: Source, split: Split, images: Images, corrections: Corrections = NONE) -> FactsRef:
    """Facts table: one row per image with `key, uri, label, group, split`, facts, and the source's own as `slice_…`.

    If a person has corrected a label, `corrected_from` holds the source's label.
    """
    rows = corrected(fact_table.with_facts(sources.listing(source), images.max_pixels), corrections)
    rows["split"] = splits.draw_split(rows, split)
    content = digest(rows.drop(columns="mtime").to_csv(index=False))
    with folders.folder("facts", content) as (working, relative):
        rows.to_parquet(working / "facts.parquet")
    return FactsRef(f"{relative}/facts.parquet", content, len(rows), int(rows["error"].notna().sum()))
