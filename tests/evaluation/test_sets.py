"""Generated sequences, FaceForensics++ and CelebA-HQ: true folder layouts with generated faces, and damaged ones."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from evaluation.evaluation import Evaluation
from evaluation.judge import judge
from evaluation.pairs import clip_numbers
from evaluation.reading import reading
from evaluation.rows import system_rows
from evaluation.sets.celeba_hq import IDENTITIES, IMAGES, MAPPING, SOURCES, TARGETS, open_celeba_hq
from evaluation.sets.faceforensics import FaceForensics, merged_persons, open_faceforensics, positions
from evaluation.sets.prepared import PreparedFaces
from evaluation.sets.sequences import GeneratedSequences, sequences_for
from faces.errors import SamaeError
from faces.fitting import FitSettings
from faces.identity.registry import load_encoder
from faces.landmarks import to_whole_pixels
from faces.masks import OccluderSettings
from faces.morphable.registry import load_head
from faces.records import encode_jpeg, encode_png
from faces.treatment import settings_of
from tests.evaluation import people
from training.batch import FaceBatch, SwapResult

SIZE_PX = 64


def faces_of(pictures: object, folder: Path) -> PreparedFaces:
    return PreparedFaces(pictures, SIZE_PX, "builtin", "builtin", folder, "test")  # type: ignore[arg-type]


def upright(key: str) -> tuple[np.ndarray, np.ndarray]:
    """A generated face somewhere in a larger picture, as photographs are: (200, 220, 3) uint8, landmarks in it."""
    shot = people.shot(key)
    canvas = np.full((200, 220, 3), 90, np.uint8)
    canvas[50:146, 70:166] = shot.image
    return canvas, shot.landmarks_px + np.array([70, 50])


# --- generated sequences ---------------------------------------------------------------------------------------------

SEQUENCES = GeneratedSequences(5, 2, 96, frames=4)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> PreparedFaces:
    return faces_of(SEQUENCES, tmp_path_factory.mktemp("faces"))


class Shaking:
    """The true frames, moved sideways by so many pixels: right in even frames, left in odd ones."""

    size_px = SIZE_PX

    def __init__(self, faces: PreparedFaces, px: float) -> None:
        self.name, self.faces, self.px = f"shaking-{px}", faces, px

    def swap(self, source: FaceBatch, target: FaceBatch) -> SwapResult:
        shots = []
        for key in target.keys:
            way = self.px * (1 if int(key.rpartition("/")[2]) % 2 else -1)
            image = self.faces.truth("", key).image
            matrix = np.array([[1.0, 0, way], [0, 1.0, 0]])
            shots.append(cv2.warpAffine(image, matrix, image.shape[:2], borderMode=cv2.BORDER_REPLICATE))
        return SwapResult(torch.from_numpy(np.stack(shots)).permute(0, 3, 1, 2).float() / 255, target.mask)


def test_shaking_raises_the_metrics_of_time_step_by_step(frames: PreparedFaces) -> None:
    summaries = [
        judge(
            Shaking(frames, px), SEQUENCES.pairs(), frames, [load_encoder("judge-2")], frames.truth,
            load_head("builtin"), chunk_pairs=4, baselines=(),
        ).summary
        for px in (0.0, 0.75, 2.0)
    ]  # fmt: skip
    for metric in ("warp_error", "truth_temporal_difference", "landmark_jitter"):
        assert np.all(np.diff([summary[metric]["mean"] for summary in summaries]) > 0), metric
    assert summaries[-1]["landmark_jitter"]["mean"] > 5 * summaries[0]["landmark_jitter"]["mean"]


@pytest.fixture(scope="module")
def video(frames: PreparedFaces) -> Evaluation:
    return judge(
        "copy-target", SEQUENCES.pairs(), frames, [load_encoder("judge-2")], frames.truth, load_head("builtin"),
        chunk_pairs=SEQUENCES.pairs_a_chunk,
    )  # fmt: skip


def test_a_list_of_sequences_is_frozen() -> None:
    listed = SEQUENCES.pairs()
    assert listed.target_keys[:5] == ("0000/00000", "0000/00001", "0000/00002", "0000/00003", "0001/00000")
    assert set(listed.source_keys) == {"0000/source", "0001/source"}
    assert listed == SEQUENCES.pairs()
    assert listed.digest != GeneratedSequences(6, 2, 96, frames=4).pairs().digest
    assert len(SEQUENCES.pairs(5)) == 4
    assert sequences_for(0, 100, 128).count == 6
    clips = clip_numbers(listed)
    assert clips is not None
    assert clips.tolist() == [0] * 4 + [1] * 4


def test_what_video_metrics_say_of_the_baselines(video: Evaluation) -> None:
    copy, paste, true = video.summary, video.baselines["paste-source"], video.baselines["true-swap"]
    assert copy["warp_error"]["mean"] == 0
    assert true["truth_temporal_difference"]["mean"] == 0 < copy["truth_temporal_difference"]["mean"]
    for name in ("temporal_identity_local", "temporal_identity_global"):
        assert copy[name]["mean"] == pytest.approx(1, abs=1e-5)
        assert 0.5 < true[name]["mean"] < 1.3
    assert paste["truth_temporal_difference"]["mean"] > 1
    assert true["landmark_jitter"]["mean"] < 6
    assert true["truth_face_psnr_db"]["mean"] == 60 > copy["truth_face_psnr_db"]["mean"]


def test_the_page_says_what_the_intervals_draw(video: Evaluation) -> None:
    assert "whole" in dict(reading(video))["Clips"]


def test_intervals_of_clips_draw_whole_clips(video: Evaluation) -> None:
    """Two clips: every resample is one of three mixtures, so an interval's ends are means of one clip each."""
    values = system_rows(video.rows, "copy-target")["truth_face_psnr_db"].to_numpy()
    ends = sorted([values[:4].mean(), values[4:].mean()])
    figure = video.summary["truth_face_psnr_db"]
    assert [figure["low"], figure["high"]] == pytest.approx(ends)


# --- FaceForensics++ -------------------------------------------------------------------------------------------------


def write_video(path: Path, keys: list[str], frames: int = 20) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    stills = [upright(key)[0] for key in keys]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (220, 200))
    if not writer.isOpened():
        pytest.skip("this OpenCV cannot write mp4")
    for n in range(frames):
        writer.write(np.ascontiguousarray(stills[n % len(stills)][..., ::-1]))
    writer.release()


@pytest.fixture
def forensics(tmp_path: Path) -> Path:
    """Four videos in the published layout; 003 is a folder of frames; 002 and 003 come from one YouTube video."""
    root, folder = tmp_path / "ff", tmp_path / "ff" / "original_sequences" / "youtube" / "c23"
    marks = {}
    for name, key in (("000", "00000"), ("001", "00001"), ("002", "00002")):
        write_video(folder / "videos" / f"{name}.mp4", [key])
        marks |= {f"{name}/{n}": to_whole_pixels(upright(key)[1]).tolist() for n in range(10)}
    for n in range(12):
        (folder / "images" / "003").mkdir(parents=True, exist_ok=True)
        (folder / "images" / "003" / f"{n:04d}.png").write_bytes(encode_png(upright("00003")[0]))
    marks |= {f"003/{n}": to_whole_pixels(upright("00003")[1]).tolist() for n in range(10)}
    (root / "landmarks.json").write_text(json.dumps(marks))
    (root / "splits").mkdir()
    (root / "splits" / "test.json").write_text('[["000", "001"], ["002", "003"], ["000", "003"], ["998", "999"]]')
    (root / "conversion_dict.json").write_text(
        json.dumps({"000": "aaaaaaaaaaa 0", "001": "bbbbbbbbbbb 1", "002": "ccccccccccc 0", "003": "ccccccccccc 1"})
    )
    return root


def test_faceforensics_is_read_as_published(forensics: Path, tmp_path: Path) -> None:
    found = open_faceforensics(forensics)
    assert found.clips == (("000", "001"), ("001", "000"), ("000", "003"), ("003", "000"))  # 002 and 003 are one person
    listed = found.pairs()
    assert len(listed) == 40
    assert (listed.source_keys[3], listed.target_keys[3]) == ("001/3", "000/3")
    assert listed.digest == open_faceforensics(forensics).pairs().digest
    assert len(found.pairs(15)) == 10
    assert found.person("002/1") == found.person("003/9") != found.person("000/0")
    faces = faces_of(found, tmp_path / "kept")
    assert found.groups(("000/1", "003/0", "000/2")) == [("000/1", "000/2"), ("003/0",)]
    assert faces.prepare(("000/1", "000/2")) == 2
    assert faces.prepare(("000/1", "000/2")) == 0
    batch = faces(("000/1", "003/9"))
    assert batch.image.shape == (2, 3, SIZE_PX, SIZE_PX)
    assert [faces.missing(key) for key in ("000/1", "003/9")] == ["", ""]
    alike = load_encoder("builtin").embed(people.shot("00000").image[None], people.shot("00000").landmarks_px[None])
    assert float((batch.embedding[0].numpy() * alike[0]).sum()) > 0.7  # cut, fitted and embedded: still the same person


def test_repeated_people_are_merged() -> None:
    found = merged_persons(["001", "043", "179", "183", "343", "826"], {"001": "x" * 11, "183": "x" * 11})
    assert found["043"] == found["343"]
    assert found["179"] == found["826"]
    assert len({found[name] for name in ("043", "179", "001")}) == 3
    assert positions(20) == [1, 3, 5, 7, 9, 11, 13, 15, 17, 19]
    assert positions(10) == list(range(10))


def test_a_broken_video_fails_its_pairs_and_no_others(forensics: Path, tmp_path: Path) -> None:
    (forensics / "original_sequences" / "youtube" / "c23" / "videos" / "001.mp4").write_bytes(b"not really a video")
    found = open_faceforensics(forensics)
    faces = faces_of(found, tmp_path / "kept")
    listed = found.pairs(40)
    evaluation = judge("copy-target", listed, faces, [load_encoder("judge-2")], None, chunk_pairs=10)
    figure = evaluation.summary["background_psnr_db"]
    assert (figure["n"], figure["failed"]) == (20, 20)
    reasons = {why for why in evaluation.rows["reason"].to_pylist() if why}
    assert reasons
    assert all("001.mp4 is no video of 10 frames or more" in why for why in reasons)


def test_damaged_faceforensics_names_the_mend(forensics: Path, tmp_path: Path) -> None:
    with pytest.raises(SamaeError, match="holds no original_sequences/youtube/c23"):
        open_faceforensics(tmp_path / "nothing")
    (forensics / "splits" / "test.json").write_text('[["000"]]')
    with pytest.raises(SamaeError, match="not a pair of names"):
        open_faceforensics(forensics)
    (forensics / "splits" / "test.json").write_text('[["998", "999"]]')
    with pytest.raises(SamaeError, match="none of the 2 published pairs has both its videos"):
        open_faceforensics(forensics)
    (forensics / "splits" / "test.json").unlink()
    with pytest.raises(SamaeError, match=r"neither splits/test\.json nor manipulated videos"):
        open_faceforensics(forensics)
    made = forensics / "manipulated_sequences" / "Deepfakes" / "c23" / "videos"
    made.mkdir(parents=True)
    (made / "000_001.mp4").touch()
    assert open_faceforensics(forensics).clips == (("000", "001"),)
    (forensics / "conversion_dict.json").write_text('{"000": 7}')
    with pytest.raises(SamaeError, match="no YouTube id"):
        open_faceforensics(forensics)
    (forensics / "conversion_dict.json").write_text("{")
    with pytest.raises(SamaeError, match="not readable JSON"):
        open_faceforensics(forensics)


def test_a_frame_without_landmarks_is_read_or_the_run_says_what_its_reader_needs(
    forensics: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SAMAE_WEIGHTS", raising=False)
    marks = json.loads((forensics / "landmarks.json").read_text())
    del marks["000/4"]
    (forensics / "landmarks.json").write_text(json.dumps(marks))
    faces = faces_of(open_faceforensics(forensics), tmp_path / "kept")
    monkeypatch.setenv("SAMAE_LANDMARKS", "insightface")
    with pytest.raises(SamaeError, match=r"det_10g\.onnx"):  # the installation's fault is no picture's row
        faces.missing("000/4")
    monkeypatch.setenv("SAMAE_LANDMARKS", "own")
    assert faces.missing("000/4") == ""
    marks["000/4"] = [[1, 2]]
    (forensics / "landmarks.json").write_text(json.dumps(marks))
    broken: FaceForensics = open_faceforensics(forensics)
    with pytest.raises(SamaeError, match="000/4 has not 68 points"):
        faces_of(broken, tmp_path / "kept2").missing("000/4")


# --- CelebA-HQ -------------------------------------------------------------------------------------------------------


@pytest.fixture
def celeba(tmp_path: Path) -> Path:
    """Four pictures in CelebAMask-HQ's layout, the whole mapping and identities; pair 2 is of one person."""
    root = tmp_path / "celeba"
    (root / IMAGES).mkdir(parents=True)
    marks = {}
    for number, key in ((28000, "00000"), (29000, "00001"), (28001, "00002"), (29001, "00003")):
        image, points = upright(key)
        (root / IMAGES / f"{number}.jpg").write_bytes(encode_jpeg(image))
        marks[str(number)] = to_whole_pixels(points).tolist()
    (root / "landmarks.json").write_text(json.dumps(marks))
    rows = [f"{n:<12}{n + 100:<12}{n + 101:06d}.jpg" for n in (*TARGETS, *SOURCES)]
    (root / MAPPING).write_text("\n".join([f"{'idx':<12}{'orig_idx':<12}orig_file", *rows]))
    ids = {n: n for n in (*TARGETS, *SOURCES)} | {29002: 28002}
    (root / IDENTITIES).write_text("\n".join(f"{n + 101:06d}.jpg {ids[n]}" for n in ids))
    return root


def test_celeba_hq_is_read_as_published(celeba: Path, tmp_path: Path) -> None:
    found = open_celeba_hq(celeba)
    listed = found.pairs()
    assert len(listed) == 999  # pair 2 is of one person
    assert (listed.source_keys[1], listed.target_keys[1]) == ("29001", "28001")
    assert "28002" not in listed.target_keys
    assert (found.person("29002"), found.person("28002")) == (28002, 28002)
    faces = faces_of(found, tmp_path / "kept")
    evaluation = judge("paste-source", found.pairs(3), faces, [load_encoder("judge-2")], None)
    figure = evaluation.summary["identity_similarity"]
    assert (figure["n"], figure["failed"]) == (2, 1)
    assert any("there is no picture" in why for why in evaluation.rows["reason"].to_pylist())
    assert set(evaluation.baselines) == {"copy-target"}


def test_kept_faces_of_photographs_belong_to_the_way_they_were_fitted(
    celeba: Path, frames: PreparedFaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So another way of fitting photographs makes them anew; generated sequences are exact and stay."""
    photographs = faces_of(open_celeba_hq(celeba), tmp_path / "kept")
    before = photographs.made_by, frames.made_by
    for name, other in (("FIT", FitSettings()), ("OCCLUDERS", OccluderSettings()), ("FIT_PX", 192)):
        with monkeypatch.context() as patch:
            patch.setattr(f"evaluation.sets.prepared.PHOTOGRAPH_{name}", other)
            assert photographs.made_by != before[0]
            assert frames.made_by == before[1]


def test_photographs_of_a_set_are_fitted_as_photographs(
    celeba: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def settings(is_generated: bool) -> object:
        asked.append(is_generated)
        return settings_of(is_generated)

    monkeypatch.setattr("training.pictures.settings_of", settings)
    faces_of(open_celeba_hq(celeba), tmp_path / "kept").missing("28000")
    assert asked == [False]
    faces_of(SEQUENCES, tmp_path / "kept").missing(SEQUENCES.pairs().target_keys[0])
    assert set(asked[1:]) == {True}


def test_celeba_hq_without_identities_has_unknown_persons(celeba: Path) -> None:
    with_identities = open_celeba_hq(celeba).digest
    (celeba / IDENTITIES).unlink()
    found = open_celeba_hq(celeba)
    assert found.digest != with_identities
    assert found.person("28000") == -1
    assert len(found.pairs()) == 1000


def test_damaged_celeba_hq_names_the_mend(celeba: Path, tmp_path: Path) -> None:
    with pytest.raises(SamaeError, match=r"holds no CelebA-HQ-img/28000\.jpg"):
        open_celeba_hq(tmp_path / "nothing")
    whole = (celeba / MAPPING).read_text()
    (celeba / MAPPING).write_text(whole.replace("28100       028101.jpg", "28100"))
    with pytest.raises(SamaeError, match=r"line 2.*is not 3 columns"):
        open_celeba_hq(celeba)
    (celeba / MAPPING).write_text("\n".join(whole.splitlines()[:-5]))
    with pytest.raises(SamaeError, match="names 1995 of the 2000 ids"):
        open_celeba_hq(celeba)
    (celeba / MAPPING).write_text(whole.replace("028101.jpg", "999999.jpg"))
    with pytest.raises(SamaeError, match=r"no identity for 999999\.jpg"):
        open_celeba_hq(celeba)
    (celeba / MAPPING).unlink()
    with pytest.raises(SamaeError, match="but no CelebA-HQ-to-CelebA-mapping"):
        open_celeba_hq(celeba)
