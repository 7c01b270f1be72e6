"""LPIPS, VGG-16 and Inception from the user's files: agreement with the packages they come from, and honest refusals.

The reference numbers were made by lpips 0.1.4, torchvision 0.29, pytorch-fid 0.3.0 and clean-fid 0.1.35 with the
weights of tests/training/published_weights.py, which everybody can make again.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from evaluation.context import Gallery, PairContext, Pictures
from evaluation.evaluation import SET_METRICS
from evaluation.judge import judge
from evaluation.metrics import build_metrics
from evaluation.metrics.fid import clean_resize, inception_features
from evaluation.metrics.frechet import frechet_distance
from evaluation.metrics.kernel import kernel_distance
from evaluation.metrics.lpips import distances, lpips_metrics
from evaluation.networks import JudgeNetworks, absent, find_networks
from evaluation.reading import reading
from evaluation.report import GROUPS
from faces.errors import SamaeError
from tests.evaluation.fakes import ColourEncoder, FakeSwapper, disc, load_faces, pairs, truth
from tests.training import published_weights as published
from training.networks.alexnet import load_alexnet
from training.networks.inception import load_inception
from training.networks.lpips import load_lpips
from training.networks.vgg import load_vgg
from training.networks.weight_files import is_as_published


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published.write_all(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def networks(weights: Path, monkeypatch: pytest.MonkeyPatch) -> JudgeNetworks:
    monkeypatch.setenv("SAMAE_WEIGHTS", str(weights))
    return find_networks()


def picture(salt: int, px: int, count: int = 2) -> np.ndarray:
    """(count, px, px, 3) uint8 waves: the pictures of the reference numbers."""
    y, x = np.mgrid[:px, :px]
    planes = [
        [np.uint8(127.5 + 127 * np.sin((x * (c + 1) + y * (k + 2)) * 0.11 + salt + k)) for c in range(3)]
        for k in range(count)
    ]
    return np.stack([np.stack(each, -1) for each in planes])


def parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_sizes_are_the_published_ones(weights: Path) -> None:
    assert parameters(load_vgg(weights / "vgg16-397923af.pth")) == 14_714_688
    assert parameters(load_alexnet(weights / "alexnet-owt-7be5be79.pth")) == 2_469_696
    assert parameters(load_inception(weights / "pt_inception-2015-12-05-6726825d.pth")) == 21_785_568
    heads = {trunk: sum(t.numel() for t in published.heads_state(trunk).values()) for trunk in ("alex", "vgg")}
    assert heads == {"alex": 1152, "vgg": 1472}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("lpips-alex", (0.1231900, 0.1163649)), ("lpips-vgg", (0.1340581, 0.1298659))],
)
def test_lpips_agrees_with_its_package(networks: JudgeNetworks, name: str, expected: tuple[float, float]) -> None:
    files = networks[name]
    assert files is not None
    assert distances(picture(0, 64), picture(1, 64), files) == pytest.approx(expected, abs=1e-4)
    everywhere = np.ones((2, 64, 64), bool)
    assert distances(picture(0, 64), picture(1, 64), files, everywhere) == pytest.approx(expected, abs=1e-4)


def test_inception_agrees_with_pytorch_fid_and_the_resize_with_clean_fid(networks: JudgeNetworks) -> None:
    small = np.stack([clean_resize(image) for image in picture(0, 64)])
    assert small.dtype == np.float32
    assert small.shape == (2, 299, 299, 3)
    assert small.astype(np.float64).mean() == pytest.approx(127.8212041, abs=1e-4)
    assert small.astype(np.float64).std(ddof=1) == pytest.approx(89.8347021, abs=1e-4)
    assert small[0, 10, 20] == pytest.approx([219.302429, 247.031113, 253.628387], abs=1e-3)
    files = networks["inception"]
    assert files is not None
    features = inception_features(picture(0, 64), files)
    assert features.shape == (2, 2048)
    assert features.mean() == pytest.approx(0.4197752, abs=1e-4)
    assert features.std(ddof=1) == pytest.approx(0.5547073, abs=1e-4)
    assert features[:, [0, 500, 1500]] == pytest.approx(
        np.array([[0.0205804, 0.0341242, 0.3387781], [0.0267267, 0.0377128, 0.3625201]]), abs=2e-4
    )


def scene(target: np.ndarray, result: np.ndarray, true: np.ndarray) -> PairContext:
    mask = np.repeat(disc((24, 24), 10)[None], len(target), 0).astype(np.float32)
    marks = np.zeros((len(target), 68, 2), np.float32)
    shots = [Pictures(image, marks, mask) for image in (target, target, result, true)]
    keys = tuple(map(str, range(len(target))))
    return PairContext(shots[0], shots[1], shots[2], shots[3], Gallery(keys, np.arange(len(keys)), {}), keys, keys)


def test_background_lpips_sees_no_face_and_face_lpips_no_corner(networks: JudgeNetworks) -> None:
    files = networks["lpips-alex"]
    assert files is not None
    target = picture(0, 48, 1)
    face, corner = target.copy(), target.copy()
    face[0][disc((24, 24), 9)] = 0
    corner[0, :6, :6] = 0
    whole, inside, background = (m.compute for m in lpips_metrics(files))
    changed, beside, same = (scene(target, result, target) for result in (face, corner, target))
    assert background(changed)[0] == 0 < background(beside)[0]
    assert inside(changed)[0] > whole(changed)[0] > 0
    assert inside(beside)[0] < whole(beside)[0]
    assert whole(same)[0] == inside(same)[0] == 0


def test_noise_raises_lpips_and_the_vgg_distance_step_by_step(networks: JudgeNetworks) -> None:
    from evaluation.metrics.truth_vgg import vgg_metric

    alex, vgg = networks["lpips-alex"], networks["vgg16"]
    assert alex is not None
    assert vgg is not None
    rng, target, found = np.random.default_rng(3), picture(0, 48, 1), []
    for strength in (0, 10, 30, 60):
        noisy = np.clip(target + strength * rng.normal(size=target.shape), 0, 255).astype(np.uint8)
        context = scene(target, noisy, target)
        found.append([lpips_metrics(alex)[0].compute(context)[0], vgg_metric(vgg).compute(context)[0]])
    assert np.all(np.diff(np.array(found), axis=0) > 0)


def test_fid_of_few_rows_is_the_fid_of_the_formula() -> None:
    """Fewer rows than features go another way; both ways agree where both work, and with torchmetrics."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(30, 40)), rng.normal(0.2, 1.3, size=(25, 40))
    padded = frechet_distance(a, b)
    repeated = [np.repeat(side, 2, axis=0) for side in (a, b)]
    # 60 and 50 rows, more than features: the large matrices; repeating n rows scales the covariance by 2(n-1)/(2n-1)
    factor = [2 * (len(side) - 1) / (2 * len(side) - 1) for side in (a, b)]
    scaled = [(side - side.mean(0)) / np.sqrt(f) + side.mean(0) for side, f in zip(repeated, factor, strict=True)]
    assert padded == pytest.approx(frechet_distance(*scaled), abs=1e-6)
    fids = pytest.importorskip("torchmetrics.image.fid", reason="torchmetrics is in the extra 'dev'")

    class Identity(torch.nn.Module):
        num_features = 40

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return rows.flatten(1)

    fid = fids.FrechetInceptionDistance(Identity(), input_img_size=(40, 1, 1)).set_dtype(torch.float64)
    for rows, real in ((b, True), (a, False)):
        fid.update(torch.from_numpy(rows)[:, :, None, None], real=real)
    assert padded == pytest.approx(float(fid.compute()), abs=1e-4)


def test_the_judge_measures_them_and_records_the_files(networks: JudgeNetworks) -> None:
    kept = ("copy-target", "true-swap")
    evaluation = judge(
        FakeSwapper(0.5), pairs(3), load_faces, [ColourEncoder()], truth, networks=networks, baselines=kept
    )
    summary, ceiling = evaluation.summary, evaluation.baselines["true-swap"]
    for trunk in ("alex", "vgg"):
        assert ceiling[f"truth_lpips_{trunk}"]["mean"] == 0 < summary[f"truth_face_lpips_{trunk}"]["mean"]
        assert evaluation.baselines["copy-target"][f"background_lpips_{trunk}"]["mean"] == 0
    assert ceiling["truth_vgg"]["mean"] == 0 < summary["truth_vgg"]["mean"]
    features = np.array(evaluation.rows.filter(evaluation.rows["system"].to_numpy() == "fake")["inception"].to_pylist())
    real = np.array(
        evaluation.rows.filter(evaluation.rows["system"].to_numpy() == "copy-target")["inception"].to_pylist()
    )
    assert summary["fid"]["mean"] == pytest.approx(frechet_distance(features, real))
    assert summary["kid"]["mean"] == pytest.approx(kernel_distance(features, real))
    assert evaluation.baselines["copy-target"]["fid"]["mean"] == pytest.approx(0, abs=1e-4)
    told = evaluation.provenance["networks"]
    assert told["inception"]["published"] is False
    assert len(told["lpips-vgg"]["sha256"]) == 2
    notes = dict(reading(evaluation))
    assert "Not measured" not in notes
    assert "vgg16" in notes["Other weights"]


def test_every_metric_has_a_place_on_the_page(networks: JudgeNetworks) -> None:
    built = build_metrics([ColourEncoder()], has_truth=True, has_fit=True, networks=networks, in_time=True)
    placed = tuple(prefix for _, prefixes in GROUPS for prefix in prefixes)
    names = [*(m.name for m in built), *(m.name for m in SET_METRICS)]
    assert [name for name in names if not name.startswith(placed)] == []


def test_without_files_nothing_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMAE_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_networks().found == ()
    evaluation = judge(FakeSwapper(0.5), pairs(4), load_faces, [ColourEncoder()], truth)
    assert not [name for name in evaluation.summary if "lpips" in name or "vgg" in name]
    assert np.isnan([evaluation.summary[name]["mean"] for name in ("fid", "kid")]).all()
    assert {m.name for m in evaluation.metrics}.isdisjoint({"fid", "kid"})
    assert len(absent(evaluation.provenance["networks"])) == 4
    assert "alexnet-owt-7be5be79.pth and alex.pth" in dict(reading(evaluation))["Not measured"]


def test_a_file_of_other_names_is_refused_with_every_name(tmp_path: Path) -> None:
    state = published.alexnet_state()
    state["conv1.weight"] = state.pop("features.0.weight")
    state["features.3.weight"] = state["features.3.weight"][:5]
    del state["features.6.bias"]
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, tmp_path / "alexnet.safetensors")
    with pytest.raises(SamaeError) as caught:
        load_alexnet(tmp_path / "alexnet.safetensors")
    for told in ("missing 2: features.0.weight, features.6.bias", "unexpected 1: conv1.weight",
                 "of another shape 1: features.3.weight", "take torchvision's alexnet-owt"):  # fmt: skip
        assert told in str(caught.value)
    torch.save({"weights": [1, 2, 3]}, tmp_path / "vgg16-397923af.pth")
    with pytest.raises(SamaeError, match="other things than tensors"):
        load_vgg(tmp_path / "vgg16-397923af.pth")
    (tmp_path / "alex.pth").write_bytes(b"not really")
    with pytest.raises(SamaeError, match=r"alex\.pth is no plain state dictionary"):
        load_lpips("alex", tmp_path / "alexnet.safetensors", tmp_path / "alex.pth")


def test_a_file_that_changes_under_the_judge_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(published.heads_state("alex"), tmp_path / "alex.pth")
    torch.save(published.alexnet_state(), tmp_path / "alexnet-owt-7be5be79.pth")
    monkeypatch.setenv("SAMAE_WEIGHTS", str(tmp_path))
    files = find_networks()["lpips-alex"]
    assert files is not None
    torch.save(published.heads_state("alex") | {"more": torch.zeros(1)}, tmp_path / "alex.pth")
    with pytest.raises(SamaeError, match="not the file that the judge began with"):
        files.load()


def test_published_files_are_known_by_the_digits_of_their_names() -> None:
    assert is_as_published(Path("vgg16-397923af.pth"), "397923af" + "0" * 56) is True
    assert is_as_published(Path("vgg16-397923af.pth"), "0" * 64) is False
    assert is_as_published(Path("vgg16.safetensors"), "0" * 64) is None
