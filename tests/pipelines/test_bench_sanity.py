"""`samae bench sanity` at small size: every metric moves the way it must, and a metric that does not is named."""

import pytest

from benchmarks._corruptions import CORRUPTIONS, DOWN, ORDERS, UP
from benchmarks.sanity import SanityTable, measure


@pytest.fixture(scope="module")
def table() -> SanityTable:
    return measure(pairs_n=12, size_px=96)


def test_every_metric_moves_the_way_it_must(table: SanityTable) -> None:
    assert table.broken() == []
    text = table.markdown()
    assert "**no**" not in text
    assert text.count("\n| ") >= table.checks - len(ORDERS)


def test_every_metric_is_moved_by_something(table: SanityTable) -> None:
    moved = {metric for family in CORRUPTIONS for metric in family.moves} | {metric for metric, *_ in ORDERS}
    assert set(table.infos) - {"truth_psnr_db", "truth_ssim"} <= moved  # the whole picture's follow the face's


def test_a_metric_that_moves_the_wrong_way_is_named(table: SanityTable) -> None:
    first = CORRUPTIONS[0]
    values = table.means(0, "truth_face_ssim")
    assert values == sorted(values, reverse=True)
    turned = {name: UP if way == DOWN else DOWN for name, way in first.moves.items()}
    first.moves.update(turned)
    try:
        broken = table.broken()
    finally:
        first.moves.update({name: UP if way == DOWN else DOWN for name, way in turned.items()})
    assert len(broken) == len(first.moves)
    assert broken[0].startswith("blur: truth_face_psnr_db goes 60.000, ")
