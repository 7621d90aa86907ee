"""Listings of the Prefect server are read to their end."""

from tasks.services.orchestration.pages import every


def test_a_listing_is_read_to_its_end_whatever_the_size_of_a_page():
    rows = list(range(7))
    for page in (1, 3, 7, 200):
        assert list(every(lambda offset, sort, page=page: rows[offset : offset + page], sort="id")) == rows
