"""The loader benchmark: its shards can be read, and its figures are medians and ratios of what was measured."""

from pathlib import Path

from benchmarks import loader
from training.stream import Stream


def test_figures_are_medians_and_name_the_best_peer() -> None:
    def measured(*rates: float) -> list[dict[str, float]]:
        return [{"images_per_s": r, "images_per_cpu_s": r / 2, "first_batch_s": 0.5, "memory_mib": 9.0} for r in rates]

    answers = {
        ("decode", 2, "ours"): measured(100.0, 120.0, 110.0),
        ("samae", 1, "ours"): measured(50.0),
        ("samae", 2, "ours"): measured(88.0, 10.0, 99.0),
        ("webdataset", 2, "pil"): measured(40.0),
        ("webdataset", 2, "ours"): measured(44.0),
        ("litdata", 2, "pil"): [],
    }
    found = loader.figures(answers, 2, {"litdata": "not installed"})
    assert (found["loader_images_per_s"], found["decode_images_per_s"], found["ratio"]) == (88.0, 110.0, 0.8)
    assert (found["best_peer"], found["times_best_peer"]) == ("webdataset with our decoders", 2.0)
    assert found["samae_1_workers_images_per_s"] == 50.0
    assert found["skipped"] == "litdata: not installed"
    assert "litdata_images_per_s" not in found


def test_its_shards_are_real_shards(tmp_path: Path) -> None:
    shards = loader.write_shards(tmp_path / "shards", pictures=6, size_px=64, drawn=2)
    batch = next(Stream(shards, "train", 4, 0).at(0))
    assert tuple(batch.image.shape) == (4, 3, 64, 64)
    assert set(loader.members_of(shards)[0]) == {
        "image.jpg", "mask.png", "coefficients.npy", "embedding.npy", "skin.npy", "landmarks.npy",
    }  # fmt: skip
