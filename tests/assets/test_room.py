"""A stage that has no room is refused before it starts, in one sentence that names what to set."""

from pathlib import Path

import dagster as dg
import pytest
import torch

from assets import models, room
from assets.machine import cores
from assets.partitions import encoder_recipe_names
from assets.plan import Plan
from assets.planned import recipe_overrides
from assets.room import (
    CGROUP_FILES,
    GIB,
    MARGIN,
    NEEDS,
    RANK_BYTES,
    SPARE_BYTES,
    Free,
    cgroup_free,
    disk_needed,
    free_here,
    ranks_that_fit,
    require_room,
    training_bytes,
)
from assets.store import Store
from faces.errors import SamaeError
from faces.identity.registry import load_encoder
from faces.morphable.registry import load_head
from tests.assets.conftest import House, make
from training.checkpoints import CheckpointStore
from training.config import load_recipe
from training.methods.base import build_method

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


def test_an_encoder_that_ray_elsewhere_would_not_make_names_what_is_read(tmp_path: Path) -> None:
    """Its pictures are made here wherever Ray is, by as many processes as there are cores: SAMAE_CORES alone is not
    read then."""
    name = encoder_recipe_names()[0]
    for workers, mend in ((3, "set SAMAE_CORES lower;"), (0, "set SAMAE_CORES lower and SAMAE_RAY=local;")):
        with pytest.raises(SamaeError, match=f"memory for {workers or cores()} processes, .*or {mend}"):
            require_room(house(tmp_path, workers=workers), "identity_encoder", 0, Free(PLENTY, 1), partition=name)


def test_a_training_elsewhere_is_counted_without_weights_that_are_only_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SAMAE_WEIGHTS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # where InsightFace's folder would be
    changes = {"overrides": ("identity.encoder=arcface",)}
    with pytest.raises(SamaeError, match="the weights of arcface are missing"):
        training_bytes(house(tmp_path, **changes), "simswap")  # type: ignore[arg-type]
    elsewhere = house(tmp_path, trains_here=False, **changes)  # type: ignore[arg-type]
    assert training_bytes(elsewhere, "simswap") == training_bytes(house(tmp_path), "simswap")


def test_a_training_that_goes_on_asks_for_the_rest_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk that is exactly large enough, after its first checkpoints; a run of other settings helps nothing."""
    samae, made_from = house(tmp_path), {"settings": 1}
    need = disk_needed(samae, "swap_model", 0, "simswap")
    checkpoint = models.run_folder(samae.store, "simswap", 1, made_from) / "checkpoints/000000001/ema.safetensors"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(bytes(1_000_000))
    monkeypatch.setattr(room, "free_here", lambda home: Free(need - 1_000_000, PLENTY))
    monkeypatch.setattr(models, "ranks_of", lambda *_: 1)
    monkeypatch.setattr(models, "training_samples", lambda _: 64)

    class Reached(Exception):
        """The training would begin now."""

    class Nobody:
        """A launcher that begins nothing."""

        def alone(self, *_: object) -> None:
            raise Reached

    for provenance, outcome in ((made_from, Reached), ({"settings": 2}, dg.Failure)):
        monkeypatch.setattr(models, "provenance", lambda *_, one=provenance: one)
        with dg.build_asset_context(partition_key="simswap") as context, pytest.raises(outcome):
            models.train(context, samae, Nobody(), object())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("batch_size", "ranks", "words"),
    [
        (128, 2, "has 64 samples < a batch of 2 ranks x 64"),
        (16, 3, "not a multiple of 3"),
        (8, 4, "4 ranks leave each 2"),
    ],
)
def test_a_batch_that_the_shards_or_the_ranks_cannot_fill_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int, ranks: int, words: str
) -> None:
    monkeypatch.setattr(models, "training_samples", lambda _: 64)
    monkeypatch.setattr(models, "ranks_of", lambda *_: ranks)
    monkeypatch.setattr(models, "provenance", lambda *_: {"settings": 1})
    monkeypatch.setattr(room, "free_here", lambda home: Free(PLENTY, PLENTY))
    samae = house(tmp_path, overrides=(f"train.batch_size={batch_size}",))
    with dg.build_asset_context(partition_key="simswap") as context, pytest.raises(dg.Failure, match=words) as refused:
        models.train(context, samae, object(), object())  # type: ignore[arg-type]
    assert not refused.value.allow_retries
    assert not samae.store.runs.exists()


def test_the_asset_itself_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "free_here", lambda home: Free(1000, PLENTY))
    samae = house(tmp_path, photographs=8)
    with pytest.raises(SamaeError, match="photographs needs about"):
        make(samae, dg.DagsterInstance.ephemeral(), "photographs")
    assert list(tmp_path.iterdir()) == []


def test_a_training_asks_for_the_checkpoints_that_it_keeps(tmp_path: Path) -> None:
    """As many bytes as its own files have: three kept, a fourth beside them, and two exports."""
    samae = house(tmp_path / "home")
    recipe = load_recipe("simswap", recipe_overrides(samae.plan, "simswap"))
    method = build_method(recipe, load_head("builtin"), load_encoder("builtin"))
    store = CheckpointStore(tmp_path / "checkpoints", recipe.train.keep_checkpoints)
    groups = {name: getattr(method, name).state_dict() for name in ("generator", "ema", "discriminator")}
    for name in ("generator", "discriminator"):
        moments = {f"{key}.{moment}": value for key, value in groups[name].items() for moment in ("first", "second")}
        groups[f"{name}_optimiser"] = moments
    written = store.save(1, groups, {}, {})
    checkpoint = sum(path.stat().st_size for path in written.glob("*.safetensors"))
    export = (written / "ema.safetensors").stat().st_size
    assert training_bytes(samae, "simswap") == pytest.approx(4 * checkpoint + 2 * export, rel=0.02)
    need = disk_needed(samae, "swap_model", 0, "simswap")
    require_room(samae, "swap_model", free=Free(need, PLENTY), partition="simswap")
    with pytest.raises(SamaeError, match=r"swap_model needs about .* of disk, .*SAMAE_HOME"):
        require_room(samae, "swap_model", free=Free(need - 1, PLENTY), partition="simswap")


def test_the_random_numbers_of_others_are_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    training_bytes(house(tmp_path), "simswap")
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    ("stage", "partition"), [("swap_model", "samae"), ("identity_encoder", "people"), ("champion", None)]
)
def test_what_is_cut_by_recipe_asks_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, partition: str | None
) -> None:
    """Before anything is looked for, trained or registered: the refusal is the disk's, in an otherwise empty home."""
    monkeypatch.setattr(room, "free_here", lambda home: Free(1000, PLENTY))
    monkeypatch.setattr("assets.models.provenance", lambda *_: {})
    partition = encoder_recipe_names()[0] if stage == "identity_encoder" else partition
    with pytest.raises((SamaeError, dg.Failure), match=f"{stage} needs about .* of disk, .*nothing was started"):
        make(house(tmp_path), dg.DagsterInstance.ephemeral(), stage, partition=partition)


def put_group(folder: Path, version: int, limit: str, used: int, given_back: int) -> None:
    """A control group's three files."""
    limit_name, used_name, given_back_names = CGROUP_FILES[version]
    inactive, active = given_back_names
    folder.mkdir(parents=True, exist_ok=True)
    (folder / limit_name).write_text(f"{limit}\n")
    (folder / used_name).write_text(f"{used}\n")
    parts = f"{inactive} {given_back // 4}\n{active} {given_back - given_back // 4}\n"
    (folder / "memory.stat").write_text(f"anon 1\n{parts}")


@pytest.mark.parametrize(("version", "own"), [(2, "0::/pod/box\n"), (1, "5:cpu:/\n4:memory,hugetlb:/pod/box\n0::/\n")])
def test_the_memory_of_a_container_is_its_own(tmp_path: Path, version: int, own: str) -> None:
    """The group's limit less what it uses; above it another limit may be the lower one."""
    root, told = tmp_path / "cgroup", tmp_path / "own"
    told.write_text(own)
    top = root if version == 2 else root / "memory"
    assert list(cgroup_free(root, told)) == []
    put_group(top / "pod/box", version, str(8 * GIB), 3 * GIB, GIB)
    assert list(cgroup_free(root, told)) == [6 * GIB]
    put_group(top / "pod", version, str(4 * GIB), 5 * GIB, 0)
    assert min(cgroup_free(root, told)) == 0
    if version == 2:
        put_group(top / "pod", version, "max", 5 * GIB, 0)
        assert list(cgroup_free(root, told)) == [6 * GIB]


def test_a_container_has_less_than_its_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "cgroup_free", lambda: iter([12345]))
    assert free_here(tmp_path).memory_bytes == 12345


@pytest.mark.parametrize(
    ("most", "batch", "multiple", "memory_ranks", "expected"),
    [(2, 16, 4, 99, 2), (16, 16, 4, 99, 4), (3, 16, 4, 99, 2), (8, 32, 4, 3, 2), (8, 6, 4, 99, 1), (4, 16, 4, 0, 1)],
)
def test_ranks_share_a_batch_in_whole_groups_and_have_memory(
    most: int, batch: int, multiple: int, memory_ranks: int, expected: int
) -> None:
    assert ranks_that_fit(most, batch, multiple, Free(PLENTY, memory_ranks * RANK_BYTES)) == expected


def test_a_photographs_room_is_that_of_its_own_width(tmp_path: Path) -> None:
    samae = house(tmp_path, photo_px=512, aligned_px=128, picture_px=64)
    stages = ("photographs", "aligned_faces", "training_shards")
    found = {stage: disk_needed(samae, stage, 1000) - SPARE_BYTES for stage in stages}
    assert found["photographs"] == pytest.approx(1000 * 2.1 * 512**2 * MARGIN, rel=1e-6)
    assert found["aligned_faces"] == pytest.approx(2 * 1000 * (3.0 * 128**2 + 600) * MARGIN, rel=1e-6)  # parts, too
    assert found["training_shards"] == pytest.approx(1000 * 3.8 * 64**2 * MARGIN, rel=1e-6)
