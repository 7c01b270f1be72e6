"""`samae evaluate --protocol video` and `--protocol faceforensics` as a user of a fresh clone runs them."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from faces.landmarks import to_whole_pixels
from tests.evaluation import people
from tests.integration.conftest import environment, samae

SHIPPED = ("evaluate", "--recipe", "samae-people", "--json")


@pytest.mark.slow
def test_the_shipped_weights_are_judged_on_sequences(tmp_path: Path) -> None:
    figures = json.loads(samae(*SHIPPED, "--protocol", "video", "--pairs", "32", home=tmp_path, SAMAE_RAY="local"))
    assert figures["identity_similarity"]["n"] == 32
    assert figures["identity_similarity"]["mean"] > 0.6 > figures["identity_leak"]["mean"]
    assert figures["truth_face_psnr_db"]["mean"] > 22
    for name in ("temporal_identity_local", "temporal_identity_global"):
        assert 0.9 < figures[name]["mean"] < 1.1
    assert 0 <= figures["warp_error"]["mean"] < 6
    assert {"gaze_degrees", "landmark_jitter", "truth_temporal_difference"} <= figures.keys()


@pytest.mark.slow
def test_a_folder_of_faceforensics_is_judged(tmp_path: Path) -> None:
    root = tmp_path / "ff"
    folder = root / "original_sequences" / "youtube" / "c23" / "images"
    marks = {}
    for name, key in (("000", "00000"), ("001", "00001")):
        (folder / name).mkdir(parents=True)
        for n in range(10):
            cv2.imwrite(str(folder / name / f"{n:04d}.png"), np.ascontiguousarray(people.shot(key).image[..., ::-1]))
            marks[f"{name}/{n}"] = to_whole_pixels(people.shot(key).landmarks_px).tolist()
    (root / "landmarks.json").write_text(json.dumps(marks))
    (root / "splits").mkdir()
    (root / "splits" / "val.json").write_text('[["000", "001"]]')
    (folder / "001" / "0004.png").write_bytes(b"not really")
    home = tmp_path / "home"
    places = {"SAMAE_FACEFORENSICS": str(root), "SAMAE_RAY": "serial"}
    asked = ("--protocol", "faceforensics", "--report", str(tmp_path / "page.html"))
    told = samae(*SHIPPED[:3], *asked, home=home, **places)
    assert "samae-128 on 20 pairs (faceforensics-c23" in told
    assert "true-swap" not in told
    assert "gaze_degrees" not in told  # read on generated people alone
    assert "failed: 001/4: " in told
    assert "failed 2 of 20 pairs" in (tmp_path / "page.html").read_text()


def test_a_set_without_its_folder_is_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipelines.cli", *SHIPPED, "--protocol", "celeba-hq"]
    done = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "name it by SAMAE_CELEBA_HQ" in done.stderr
