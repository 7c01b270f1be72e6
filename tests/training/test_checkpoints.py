"""training.checkpoints: whole or absent, newest valid wins, a full disk keeps the last good one."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from faces.errors import SamaeError
from training.checkpoints import CheckpointStore, load_strictly

META = {"recipe_digest": "a", "data_digest": "b", "world_size": 1}


def save(store: CheckpointStore, samples_seen: int) -> Path:
    groups = {"generator": {"w": torch.full((3, 2), float(samples_seen))}, "optimiser": {"step": torch.tensor(1.0)}}
    return store.save(samples_seen, groups, {"elapsed_s": 1.5}, META)


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    layout = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    store.save(64, {"generator": {"a": layout, "b": layout}, "empty": {}}, {"n": 3}, META)
    loaded = store.load(64)
    assert torch.equal(loaded.groups["generator"]["a"], layout)
    assert loaded.groups["empty"] == {}
    assert loaded.state == {"n": 3}
    manifest = json.loads((store.path(64) / "manifest.json").read_text())
    assert manifest["metadata"] == {**META, "samples_seen": 64}
    assert set(manifest["files"]) == {"generator.safetensors", "empty.safetensors", "state.json"}


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert CheckpointStore(tmp_path / "absent").newest() is None


def test_the_newest_is_taken_and_old_ones_are_pruned(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    for samples_seen in (32, 64, 96, 1000):
        save(store, samples_seen)
    assert store.newest() == 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000096", "000001000"]


def test_there_is_always_one_to_fall_back_on(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=1)
    for samples_seen in (32, 64, 96):
        save(store, samples_seen)
    (store.path(96) / "generator.safetensors").unlink()
    assert store.newest() == 64


@pytest.mark.parametrize("harm", ["truncate", "flip", "no marker", "half marker", "no file"])
def test_a_damaged_newest_is_passed_over_with_a_reason(tmp_path: Path, harm: str) -> None:
    store = CheckpointStore(tmp_path)
    save(store, 32)
    path = save(store, 64)
    weights, marker = path / "generator.safetensors", path / "manifest.json"
    data = weights.read_bytes()
    if harm == "truncate":
        weights.write_bytes(data[:-1])
    elif harm == "flip":
        weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif harm == "no marker":
        marker.unlink()
    elif harm == "half marker":
        marker.write_bytes(marker.read_bytes()[:40])
    else:
        weights.unlink()
    assert store.newest() == 32
    assert len(store.passed_over) == 1
    assert "000000064" in store.passed_over[0]


def test_foreign_folders_are_not_trusted(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    save(store, 32)
    (tmp_path / "000009999").mkdir()
    (tmp_path / "backup").mkdir()
    assert store.newest() == 32


def test_another_recipe_or_other_data_is_refused(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    save(store, 32)
    assert store.newest(recipe_digest="a", data_digest="b") == 32
    with pytest.raises(SamaeError, match="recipe_digest a, this run has x"):
        store.newest(recipe_digest="x", data_digest="b")
    with pytest.raises(SamaeError, match="data_digest b, this run has y"):
        store.newest(recipe_digest="a", data_digest="y")


def test_another_encoder_is_refused_and_an_unnoted_one_is_not(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    save(store, 32)
    assert store.newest(encoder_digest="e") == 32
    store.save(64, {"generator": {"w": torch.zeros(1)}}, {}, {**META, "encoder_digest": "e"})
    assert store.newest(encoder_digest="e") == store.newest() == 64
    with pytest.raises(SamaeError, match="encoder_digest e, this run has z"):
        store.newest(encoder_digest="z")


def test_a_full_disk_keeps_the_last_good_one_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CheckpointStore(tmp_path)
    save(store, 32)

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(SamaeError, match=r"is full: the last good checkpoint, .*000000032, is kept"):
            save(store, 64)
    assert store.newest() == 32
    assert [path.name for path in tmp_path.iterdir()] == ["000000032"]
    save(store, 64)
    assert store.newest() == 64


KILLED = """
import os, sys
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[2])
from test_checkpoints import META, save
from training.checkpoints import CheckpointStore
store = CheckpointStore(Path(sys.argv[1]))
save(store, 32)
write, count = Path.write_bytes, [0]
def dying(self, data):
    count[0] += 1
    if count[0] == 2:
        write(self, data[: len(data) // 2])
        os.kill(os.getpid(), 9)
    return write(self, data)
Path.write_bytes = dying
save(store, 64)
"""


def test_a_kill_in_the_middle_of_a_save_leaves_the_one_before(tmp_path: Path) -> None:
    script, folder = tmp_path / "killed.py", tmp_path / "checkpoints"
    script.write_text(KILLED)
    command = [sys.executable, str(script), str(folder), str(Path(__file__).parent)]
    done = subprocess.run(command, env=dict(os.environ), check=False, timeout=120)
    assert done.returncode == -9
    store = CheckpointStore(folder)
    assert len(list(folder.iterdir())) == 2
    assert store.newest() == 32
    store.clean()
    assert [path.name for path in folder.iterdir()] == ["000000032"]


def test_weights_of_another_network_are_refused_by_name() -> None:
    module = nn.Linear(3, 2)
    load_strictly(module, {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}, "generator")
    assert float(module.weight.detach().sum()) == 6
    with pytest.raises(SamaeError, match=r"generator: missing \['bias'\], unknown \['scale'\].*shape \['weight'\]"):
        load_strictly(module, {"weight": torch.ones(2, 4), "scale": torch.ones(1)}, "generator")


def test_weights_of_another_shape_alone_are_one_sentence() -> None:
    with pytest.raises(SamaeError, match=r"of another shape \['weight'\]"):
        load_strictly(nn.Linear(3, 2), nn.Linear(2, 2).state_dict(), "generator")
