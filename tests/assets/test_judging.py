"""Sets that are no shards: rows of the judge belong to faces that were made in one way, and are kept for that alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from assets.graph import STAGES
from assets.judging import judge_set, loss_curves
from assets.store import Store
from evaluation.measure import default_measurer
from evaluation.sets.celeba_hq import IMAGES, open_celeba_hq
from faces.files import sha256_bytes
from faces.landmarks import to_whole_pixels
from faces.morphable.registry import load_head
from faces.occluders import NETWORKS
from faces.readers import cover
from faces.readers.weights import save_reader
from faces.records import encode_png
from tests.assets.conftest import Serial, tiny_plan
from tests.evaluation import people
from training.weights import find_weights


@pytest.fixture
def celeba(tmp_path: Path) -> Path:
    """Two pictures, one pair, with their landmarks."""
    root = tmp_path / "celeba"
    (root / IMAGES).mkdir(parents=True)
    shots = {number: people.shot(key) for number, key in (("28000", "00000"), ("29000", "00001"))}
    for number, shot in shots.items():
        (root / IMAGES / f"{number}.jpg").write_bytes(encode_png(shot.image))
    marks = {number: to_whole_pixels(shot.landmarks_px).tolist() for number, shot in shots.items()}
    (root / "landmarks.json").write_text(json.dumps(marks))
    return root


def judged(root: Path, home: Path) -> Any:
    """The evaluation of the shipped weights on the pair of the folder."""
    plan = tiny_plan(judges=("judge-1",))
    export, pictures = find_weights("samae-people").folder, open_celeba_hq(root)
    return judge_set(plan, Store(home, "none"), export, Serial(), lambda done, total, note: None, pictures, 1)


def figures(evaluation: Any) -> dict[str, float]:
    names = ("identity_similarity", "background_psnr_db", "skin_delta_e")
    return {name: evaluation.summary[name]["mean"] for name in names}


def test_weights_that_are_added_later_make_an_evaluation_out_of_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the report asks: put the network's file into a folder named by SAMAE_WEIGHTS."""
    monkeypatch.setenv("SAMAE_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    settings, plan = STAGES["swap_evaluation"].settings, tiny_plan()
    before = settings(plan, "samae")
    assert settings(plan, "samae") == before
    (tmp_path / "vgg16-397923af.pth").write_bytes(b"weights")
    after = settings(plan, "samae")
    assert before["networks"] == {}
    assert after["networks"] == {"vgg16": [sha256_bytes(b"weights")]}


def test_an_evaluation_depends_on_what_its_results_are_fitted_with(tmp_path: Path) -> None:
    settings = STAGES["swap_evaluation"].settings
    measurer = default_measurer(load_head("builtin"))
    assert measurer is not None
    assert settings(tiny_plan(), "samae")["measurer"] == measurer.digest
    assert settings(tiny_plan(raw=tmp_path), "samae")["measurer"] is None  # real people: nothing is fitted


def test_rows_of_other_masks_or_landmarks_are_not_taken_for_these(
    celeba: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same pictures, pairs, weights and judge; what reads the faces changes, and changes back."""
    first = judged(celeba, tmp_path / "home")
    kept = sorted((tmp_path / "home" / "cache" / "judged").iterdir())
    assert judged(celeba, tmp_path / "home").rows.equals(first.rows)
    assert sorted((tmp_path / "home" / "cache" / "judged").iterdir()) == kept

    network = cover.CoverNetwork()  # of random weights: it sees covers anywhere
    torch.manual_seed(0)
    with torch.no_grad():
        for value in network.parameters():
            value.normal_(0, 0.2)
    save_reader(network, tmp_path / "other.safetensors", {})
    with monkeypatch.context() as patch:
        patch.setitem(NETWORKS, "photographs", tmp_path / "other.safetensors")
        masked = judged(celeba, tmp_path / "home")
    assert masked.provenance["judge_digest"] != first.provenance["judge_digest"]
    assert figures(masked) != figures(first)

    path = celeba / "landmarks.json"
    listed = path.read_text()
    path.write_text(json.dumps({key: (np.array(marks) + 4).tolist() for key, marks in json.loads(listed).items()}))
    moved = judged(celeba, tmp_path / "home")
    assert figures(moved) != figures(first)
    path.write_text(listed)
    assert judged(celeba, tmp_path / "home").rows.equals(first.rows)


def test_loss_curves_pass_over_a_torn_line(tmp_path: Path) -> None:
    whole = '{"kimg": 1.0, "x/total": 0.5, "perf/images_per_s": 9.0}\n'
    (tmp_path / "stats.jsonl").write_text(whole + '{"kimg": 2.0, "x/to' + whole + whole.replace("1.0", "4.0"))
    assert loss_curves(tmp_path) == {"x/total": [(1.0, 0.5), (4.0, 0.5)]}
    assert loss_curves(tmp_path / "none") == {}
