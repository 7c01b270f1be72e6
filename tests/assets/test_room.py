"""A stage that has no room is refused before it starts, in one sentence that names what to set."""

from pathlib import Path

import dagster as dg
import pytest

from assets import room
from assets.plan import Plan
from assets.room import NEEDS, RANK_BYTES, Free, disk_needed, ranks_that_fit, require_room
from assets.store import Store
from faces.errors import SamaeError
from tests.assets.conftest import House, make

PLENTY = 1 << 50


def house(home: Path, workers: int = 2, trains_here: bool = True, **changes: object) -> House:
    return House(Plan(**changes), Store(home, "set"), [], workers, trains_here)  # type: ignore[arg-type]


@pytest.mark.parametrize("stage", NEEDS)
def test_a_full_disk_is_said_before_anything_is_written(tmp_path: Path, stage: str) -> None:
    samae = house(tmp_path / "home")
    need = disk_needed(samae, stage, 1000)
    require_room(samae, stage, 1000, Free(need, PLENTY))
    with pytest.raises(SamaeError, match=rf"{stage} needs about .* for 1,000 pictures, .*SAMAE_HOME") as caught:
        require_room(samae, stage, 1000, Free(need - 1, PLENTY))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "home").exists()


def test_larger_pictures_need_more_disk(tmp_path: Path) -> None:
    small, large = house(tmp_path), house(tmp_path, aligned_px=256)
    spare = disk_needed(small, "neutral_albedo", 0)
    grown = disk_needed(large, "neutral_albedo", 1000) - spare
    assert grown == pytest.approx(4 * (disk_needed(small, "neutral_albedo", 1000) - spare), rel=1e-6)
    assert disk_needed(large, "training_shards", 1000) == disk_needed(small, "training_shards", 1000)


def test_too_many_processes_for_the_memory_name_their_setting(tmp_path: Path) -> None:
    with pytest.raises(SamaeError, match=r"memory for 64 processes, .*SAMAE_CORES"):
        require_room(house(tmp_path, workers=64), "face_masks", 1, Free(PLENTY, 2 << 30))
    with pytest.raises(SamaeError, match=r"memory for 4 processes, .*SAMAE_RANKS"):
        require_room(house(tmp_path, ranks=4), "swap_model", 0, Free(PLENTY, 2 << 30))


def test_work_that_runs_elsewhere_asks_for_no_memory_here(tmp_path: Path) -> None:
    with pytest.raises(SamaeError, match="memory"):
        require_room(house(tmp_path, ranks=64), "swap_model", 0, Free(PLENTY, 1))
    require_room(house(tmp_path, trains_here=False, ranks=64), "swap_model", 0, Free(PLENTY, 1))
    require_room(house(tmp_path, workers=0), "face_masks", 1, Free(PLENTY, 1))


def test_the_asset_itself_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "free_here", lambda home: Free(1000, PLENTY))
    samae = house(tmp_path, photographs=8)
    with pytest.raises(SamaeError, match="photographs needs about"):
        make(samae, dg.DagsterInstance.ephemeral(), "photographs")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("most", "batch", "multiple", "memory_ranks", "expected"),
    [(2, 16, 4, 99, 2), (16, 16, 4, 99, 4), (3, 16, 4, 99, 2), (8, 32, 4, 3, 2), (8, 6, 4, 99, 1), (4, 16, 4, 0, 1)],
)
def test_ranks_share_a_batch_in_whole_groups_and_have_memory(
    most: int, batch: int, multiple: int, memory_ranks: int, expected: int
) -> None:
    assert ranks_that_fit(most, batch, multiple, Free(PLENTY, memory_ranks * RANK_BYTES)) == expected
