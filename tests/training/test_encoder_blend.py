"""BlendFace's blending against a naive version, its partners, its refusals; folders of identities and their errors."""

import json
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_encoder import pattern_set

from faces.errors import SamaeError
from faces.files import digest_of
from training.encoder import CropSet, EncoderRecipe, encoder_recipe_names, load_encoder_recipe, open_crops
from training.encoder.blend import NEAREST_BY, Blender, blend, kernel_for, nearest_candidates, soft_edges
from training.encoder.crops import data_digest
from training.encoder.loop import epoch_batches

WHITE = np.array([0.950456, 1.0, 1.088754])
TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])


def lab_of(rgb: np.ndarray) -> np.ndarray:
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = linear @ TO_XYZ.T / WHITE
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def rgb_of(lab: np.ndarray) -> np.ndarray:
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], -1)
    xyz = np.where(f > 6 / 29, f**3, (f - 16 / 116) / 7.787) * WHITE
    linear = np.clip(xyz @ np.linalg.inv(TO_XYZ).T, 0, 1)
    return np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, linear * 12.92)


def blurred(mask: np.ndarray, size: int) -> np.ndarray:
    """Gaussian blur by the definition, OpenCV's sigma for a kernel of that size, mirrored border."""
    sigma = 0.3 * ((size - 1) * 0.5 - 1) + 0.8
    weights = np.exp(-((np.arange(size) - size // 2) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    padded = np.pad(mask, size // 2, mode="reflect")
    out = np.zeros_like(mask)
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            out[y, x] = (padded[y : y + size, x : x + size] * np.outer(weights, weights)).sum()
    return out


def naive_blend(
    face: np.ndarray, face_mask: np.ndarray, other: np.ndarray, other_mask: np.ndarray, kernel_px: int = 11
) -> np.ndarray:
    inside, outside = face_mask >= 128, other_mask >= 128
    both = np.logical_and(inside, outside)
    if both.sum() <= 0.5 * max(inside.sum(), outside.sum()):
        return face
    own, wanted = lab_of(face / 255.0), lab_of(other / 255.0)
    for channel in range(3):
        a, b = own[..., channel][inside], wanted[..., channel][outside]
        own[..., channel] = (own[..., channel] - a.mean()) / a.std() * b.std() + b.mean()
    first = blurred(both.astype(np.float64), kernel_px)
    second = blurred((first > first.max() - 1e-6).astype(np.float64), kernel_px)
    weight = (second / second.max())[..., None]
    return weight * rgb_of(own) * 255 + (1 - weight) * other


def faces(size_px: int = 112) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    coarse = rng.integers(60, 200, (2, 6, 6, 3)).astype(np.uint8)
    pictures = [cv2.resize(one, (size_px, size_px), interpolation=cv2.INTER_CUBIC) for one in coarse]
    masks = []
    for shift in (-4, 4):
        mask = np.zeros((size_px, size_px), np.uint8)
        cv2.ellipse(mask, (size_px // 2 + shift, size_px // 2), (size_px // 3, 2 * size_px // 5), 0, 0, 360, 255, -1)
        masks.append(mask)
    return pictures[0], masks[0], pictures[1], masks[1]


def test_the_blend_is_the_naive_one() -> None:
    face, face_mask, other, other_mask = faces()
    made = blend(face, face_mask, other, other_mask).astype(np.float64)
    wanted = naive_blend(face, face_mask, other, other_mask)
    assert np.abs(made - wanted).max() < 2.5
    assert np.abs(made - other).max() > 20
    far = blurred(((face_mask >= 128) & (other_mask >= 128)).astype(float), 11) == 0
    np.testing.assert_array_equal(made[far], other[far])


def test_a_smaller_crop_has_a_smaller_edge() -> None:
    face, face_mask, other, other_mask = faces(64)
    made = blend(face, face_mask, other, other_mask).astype(np.float64)
    assert np.abs(made - naive_blend(face, face_mask, other, other_mask, 7)).max() < 2.5


def test_what_is_less_than_half_inside_a_mask_is_outside() -> None:
    face, face_mask, other, other_mask = faces()
    haloed = [np.maximum(mask, cv2.dilate(mask, np.ones((9, 9), np.uint8)) // 3) for mask in (face_mask, other_mask)]
    plain = blend(face, face_mask, other, other_mask)
    np.testing.assert_array_equal(blend(face, haloed[0], other, haloed[1]), plain)


def test_masks_that_meet_in_just_half_of_the_larger_one_leave_the_picture_alone() -> None:
    face, _, other, _ = faces()
    whole, half, more = (np.zeros((112, 112), np.uint8) for _ in range(3))
    whole[30:70, 30:70] = half[30:70, 30:50] = more[30:70, 30:51] = 255
    np.testing.assert_array_equal(blend(face, whole, other, half), face)
    assert (blend(face, whole, other, more) != face).any()


def test_masks_that_hardly_meet_leave_the_picture_alone() -> None:
    face, face_mask, other, _ = faces()
    small = np.zeros_like(face_mask)
    small[50:60, 50:60] = 255
    np.testing.assert_array_equal(blend(face, face_mask, other, small), face)
    np.testing.assert_array_equal(blend(face, face_mask, other, np.zeros_like(small)), face)


def test_soft_edges_erode_and_stay_between_nothing_and_one() -> None:
    mask = faces()[1] >= 128
    soft = soft_edges(mask)
    assert soft.max() == pytest.approx(1)
    assert soft.min() == pytest.approx(0, abs=1e-7)
    assert (soft > 0.5).sum() < mask.sum()
    assert (kernel_for(112), kernel_for(64)) == (11, 7)


def test_partners_are_the_nearest_of_other_people() -> None:
    rng = np.random.default_rng(0)
    landmarks, labels = rng.normal(size=(30, 68, 2)).astype(np.float32), np.arange(30) % 5
    chosen = nearest_candidates(landmarks, labels, 4)
    for row in range(30):
        distance = ((landmarks[:, NEAREST_BY] - landmarks[row, NEAREST_BY]) ** 2).sum((1, 2))
        distance[labels == labels[row]] = np.inf
        assert sorted(chosen[row]) == sorted(np.argsort(distance)[:4])


def test_one_identity_has_no_partner() -> None:
    with pytest.raises(SamaeError, match="one identity"):
        nearest_candidates(np.zeros((3, 68, 2), np.float32), np.zeros(3, int), 4)


def test_half_the_pictures_are_blended_and_keep_their_middle() -> None:
    crops = pattern_set()
    recipe = load_encoder_recipe("blendface-encoder", ["blend_candidates=5"])
    blender, rng = Blender(recipe, crops), np.random.Generator(np.random.Philox(key=[1, 2]))
    shown = np.stack([blender.picture(row, rng) for row in crops.rows(True)])
    changed = (shown != crops.pictures[crops.rows(True)]).reshape(len(shown), -1).any(1)
    assert 0.35 < changed.mean() < 0.65
    assert set(blender.candidates[crops.rows(True)].ravel()) <= set(crops.rows(True))


def test_the_recipes_differ_in_blending_alone_and_keep_the_papers_numbers() -> None:
    plain, blended = load_encoder_recipe("arcface").as_dict(), load_encoder_recipe("blendface-encoder").as_dict()
    differing = {key for key in plain if plain[key] != blended[key]}
    assert differing == {"name", "description", "blend_probability", "blend_ramp"}
    assert (blended["blend_probability"], blended["blend_ramp"]) == (0.5, 0.5)
    assert load_encoder_recipe("blendface-from-builtin").blend_ramp == 0
    full = load_encoder_recipe("blendface-encoder-r100")
    assert (full.depth, full.scale, full.margin, full.batch_size, full.epochs) == (100, 64, 0.5, 1024, 20)
    assert (full.blend_probability, full.blend_ramp) == (0.5, 0)  # the published way
    assert {"builtin", "arcface", "arcface-r50", "arcface-r100"} <= set(encoder_recipe_names())
    with pytest.raises(SamaeError, match="did you mean 'margin'"):
        load_encoder_recipe("arcface", ["margn=1"])


# ---- a folder an identity --------------------------------------------------------------------------------------


def people_folder(root: Path, pictures: tuple[int, ...] = (2, 3, 2, 2), landmarks: bool = True) -> Path:
    rng, table = np.random.default_rng(0), {}
    for person, count in enumerate(pictures):
        (root / f"name-{person}").mkdir(parents=True)
        for index in range(count):
            path = root / f"name-{person}" / f"{index}.png"
            cv2.imwrite(str(path), rng.integers(0, 255, (40, 48, 3)).astype(np.uint8))
            points = np.tile([[24.0, 24.0]], (68, 1))
            points[:17] = np.stack([np.linspace(8, 40, 17), 20 + 16 * np.sin(np.linspace(0, np.pi, 17))], 1)
            points[36:42], points[42:48], points[30], points[48], points[54] = (
                (17, 18), (31, 18), (24, 24), (19, 30), (29, 30),
            )  # fmt: skip
            table[path.relative_to(root).as_posix()] = points.tolist()
    if landmarks:
        (root / "landmarks.json").write_text(json.dumps(table))
    return root


def folder_recipe(root: Path, *overrides: str) -> EncoderRecipe:
    return load_encoder_recipe("arcface", [f"data={root}", "crop_px=32", *overrides])


def opened(root: Path, tmp_path: Path, *overrides: str, said: list[str] | None = None) -> CropSet:
    report = (lambda line: None) if said is None else said.append
    return open_crops(folder_recipe(root, *overrides), tmp_path / "cache", 1, report)


def test_a_folder_an_identity_becomes_crops(tmp_path: Path) -> None:
    crops = opened(people_folder(tmp_path / "set"), tmp_path)
    assert crops.pictures.shape == (9, 32, 32, 3)
    assert crops.train_people == 2
    assert sorted(np.bincount(crops.labels)) == [2, 2, 2, 3]
    assert 0.1 < (crops.masks >= 128).mean() < 0.9
    eyes = crops.landmarks[0, 36:48].mean(0)
    assert np.abs(eyes - [16, 14.8]).max() < 3
    assert not set(crops.labels[crops.rows(True)]) & set(crops.labels[crops.rows(False)])


@pytest.mark.parametrize(
    ("pictures", "landmarks", "words"),
    [
        ((3,), True, "has 1 identities with two pictures"),
        ((3, 1, 2), True, "1 identities .* have one picture only .*leave_out_single=true"),
        ((2, 3, 2), True, "4 people at least, two that train and two that verify"),
        ((2, 2, 2, 2), False, "no face was found in .*landmarks.json"),
    ],
)
def test_a_folder_that_cannot_teach_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: tuple[int, ...], landmarks: bool, words: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SAMAE_WEIGHTS", raising=False)
    with pytest.raises(SamaeError, match=words):
        opened(people_folder(tmp_path / "set", pictures, landmarks), tmp_path)


def test_single_pictures_can_be_left_out(tmp_path: Path) -> None:
    root = people_folder(tmp_path / "set", (2, 1, 2, 2, 2))
    assert sorted(np.bincount(opened(root, tmp_path, "leave_out_single=true").labels)) == [2, 2, 2, 2]


def test_of_a_folders_people_a_tenth_at_most_verifies(tmp_path: Path) -> None:
    """The recipe arcface holds out 60 people: of 22 in a folder that would leave two to learn from."""
    said: list[str] = []
    crops = opened(people_folder(tmp_path / "set", (2,) * 22), tmp_path, said=said)
    assert crops.train_people == 20
    assert said == ["20 people train, 2 verify"]


def test_bad_pictures_and_masks_are_left_out_by_name(tmp_path: Path) -> None:
    root, said = people_folder(tmp_path / "set", (3, 3, 3, 3, 3, 2)), []
    (root / "name-0/0.png").write_bytes(b"oops")
    cv2.imwrite(str(root / "name-1/1.mask.png"), np.zeros((40, 47), np.uint8))
    cv2.imwrite(str(root / "name-1/0.mask.png"), np.zeros((40, 48), np.uint8))
    table = json.loads((root / "landmarks.json").read_text())
    del table["name-2/2.png"]
    (root / "landmarks.json").write_text(json.dumps(table))
    (root / "name-5/1.png").write_bytes(b"")
    crops = opened(root, tmp_path, said=said)
    assert sorted(np.bincount(crops.labels)) == [2, 2, 2, 3, 3]
    assert sorted(len(np.unique(crops.labels[crops.rows(part)])) for part in (True, False)) == [2, 3]
    assert len(crops.pictures) == len(crops.masks) == len(crops.landmarks) == 12
    (line,) = (line for line in said if "left out (" in line)
    assert line.startswith(f"4 of 17 pictures of {root}")
    assert "name-0/0.png: not a PNG, JPEG or WebP picture" in line
    assert "the mask name-1/1.mask.png has 47 x 40 px, its picture 48 x 40" in line
    assert "no 68 points for name-2/2.png" in line
    assert line.endswith("1 people keep fewer than two and are left out whole")


def test_crops_are_made_anew_when_a_mask_or_a_picture_changes(tmp_path: Path) -> None:
    root = people_folder(tmp_path / "set")
    before = opened(root, tmp_path)
    assert before.digest == data_digest(folder_recipe(root))
    cv2.imwrite(str(root / "name-0/0.mask.png"), np.zeros((40, 48), np.uint8))
    masked = opened(root, tmp_path)
    assert (masked.masks.reshape(len(masked.masks), -1).max(1) == 0).sum() == 1
    assert np.asarray(before.masks).reshape(9, -1).max(1).min() > 0
    picture = root / "name-1/0.png"
    about = picture.stat()
    os.utime(picture, ns=(about.st_atime_ns, about.st_mtime_ns + 1))  # as a picture of the same size would
    assert len({before.digest, masked.digest, data_digest(folder_recipe(root))}) == 3


def test_generated_people_belong_to_an_edition_of_the_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_encoder_recipe("arcface")
    today = data_digest(recipe)
    monkeypatch.setattr("faces.synthetic.dataset.GENERATOR", "people-0")
    assert data_digest(recipe) != today


def test_missing_points_and_folders_are_named(tmp_path: Path) -> None:
    root = people_folder(tmp_path / "set")
    (root / "landmarks.json").write_text("{}")
    with pytest.raises(SamaeError, match=r"^\S+landmarks.json is not a list of landmarks"):
        opened(root, tmp_path)
    with pytest.raises(SamaeError, match="is no folder"):
        opened(tmp_path / "nowhere", tmp_path)


def test_a_pair_list_is_verified_through_landmarks_and_crops(tmp_path: Path) -> None:
    from benchmarks.encoders import _on_list
    from faces.identity.registry import load_encoder

    root = people_folder(tmp_path / "set", (4, 4, 4))
    table = json.loads((root / "landmarks.json").read_text())
    renamed = {}
    for person in range(3):
        for index in range(4):
            old = root / f"name-{person}" / f"{index}.png"
            new = old.with_name(f"name-{person}_{index + 1:04d}.jpg")
            cv2.imwrite(str(new), cv2.imread(str(old)))
            renamed[new.relative_to(root).as_posix()] = table[old.relative_to(root).as_posix()]
    (root / "landmarks.json").write_text(json.dumps(renamed))
    same = [f"name-{p}\t{a}\t{b}" for p in range(3) for a, b in ((1, 1), (2, 2))]
    other = [f"name-{p}\t{a}\tname-{(p + 1) % 3}\t{a}" for p in range(3) for a in (1, 2)]
    (root / "pairs.txt").write_text("\n".join(["10 6", *same, *other]))
    accuracy = _on_list(load_encoder("builtin"), {"data": str(root), "pairs": str(root / "pairs.txt")})
    assert accuracy >= 0.8  # a picture against itself, and noise against other noise


def everywhere(crops: CropSet) -> CropSet:
    """The same pictures in another order, so that people who verify lie among those who train."""
    order = np.random.default_rng(4).permutation(len(crops.labels))
    moved = {name: getattr(crops, name)[order] for name in ("pictures", "labels", "landmarks", "masks")}
    return replace(crops, **moved)


def test_partners_train_too_and_are_others_wherever_their_pictures_lie() -> None:
    crops = everywhere(pattern_set())
    rows = crops.rows(True)
    blender = Blender(load_encoder_recipe("blendface-encoder", ["blend_candidates=5"]), crops)
    partners = blender.candidates[rows]
    assert set(partners.ravel()) <= set(rows)
    assert (crops.labels[partners] != crops.labels[rows][:, None]).all()


def test_a_picture_is_blended_as_often_as_asked_with_its_partners_own_mask() -> None:
    crops = everywhere(pattern_set())
    rng = np.random.default_rng(5)
    crops.masks[np.arange(len(crops.masks)), 8:24, rng.integers(8, 11, len(crops.masks))] = 0
    for probability in (0.0, 1.0):
        recipe = load_encoder_recipe("blendface-encoder", ["blend_candidates=1", f"blend_probability={probability}"])
        blender = Blender(recipe, crops)
        for row in crops.rows(True)[:20]:
            wanted = crops.pictures[row]
            if probability:
                partner = blender.candidates[row][0]
                wanted = blend(wanted, crops.masks[row], crops.pictures[partner], crops.masks[partner])
            np.testing.assert_array_equal(blender.picture(int(row), rng), wanted)


def test_blending_rises_to_its_probability_over_the_ramp() -> None:
    crops = everywhere(pattern_set())
    rows = [int(row) for row in crops.rows(True)]
    settings = ["blend_candidates=1", "blend_probability=0.8", "blend_ramp=0.5"]
    blender = Blender(load_encoder_recipe("blendface-encoder", settings), crops)

    def blended(progress: float) -> float:
        """Share of blended pictures in many draws."""
        rng = np.random.default_rng(8)
        shown = [(row, blender.picture(row, rng, progress)) for row in rows * (4000 // len(rows))]
        return float(np.mean([(picture != crops.pictures[row]).any() for row, picture in shown]))

    assert blended(0.0) == 0
    assert [blended(progress) for progress in (0.25, 0.5, 1.0)] == pytest.approx([0.4, 0.8, 0.8], abs=0.04)
    with pytest.raises(SamaeError, match=r"blend_ramp is a share of 0\.\.1, not 2"):
        load_encoder_recipe("blendface-encoder", ["blend_ramp=2"])


def test_a_ramp_of_nothing_is_no_other_recipe() -> None:
    """So runs that began before there was a ramp go on."""
    plain = load_encoder_recipe("arcface")
    settings = {key: value for key, value in plain.as_dict().items() if key not in ("name", "description")}
    assert plain.digest == digest_of({key: value for key, value in settings.items() if key != "blend_ramp"})
    assert load_encoder_recipe("arcface", ["blend_ramp=0.5"]).digest == digest_of(settings | {"blend_ramp": 0.5})


def test_an_epoch_is_blended_by_its_place_in_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    crops = everywhere(pattern_set())
    recipe = load_encoder_recipe("blendface-encoder", ["epochs=4", "batch_size=8", "blend_candidates=1"])
    blender, asked = Blender(recipe, crops), []

    def picture(row: int, rng: object, progress: float) -> np.ndarray:
        asked.append(progress)
        return crops.pictures[row]

    monkeypatch.setattr(blender, "picture", picture)
    for epoch in (0, 1, 3):
        list(epoch_batches(blender, epoch))
    assert sorted(set(asked)) == [0, 0.25, 0.75]


def test_all_candidates_are_partners_in_turn() -> None:
    crops = pattern_set()
    recipe = load_encoder_recipe("blendface-encoder", ["blend_candidates=4", "blend_probability=1.0"])
    blender, rng = Blender(recipe, crops), np.random.Generator(np.random.Philox(key=[1, 2]))
    assert len({blender.picture(0, rng).tobytes() for _ in range(60)}) == 4


def test_of_a_large_set_a_random_part_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.encoder.blend.POOL", 12)
    rng = np.random.default_rng(0)
    landmarks, labels = rng.normal(size=(60, 68, 2)).astype(np.float32), np.arange(60) // 12
    chosen, other = (nearest_candidates(landmarks, labels, 3, seed) for seed in (1, 2))
    assert (labels[chosen] != labels[:, None]).all()
    pool = np.unique(chosen)
    assert len(pool) <= 12
    assert pool.max() >= 12
    assert set(pool) != set(np.unique(other))
    points = landmarks[:, NEAREST_BY]
    for row in range(60):
        strangers = pool[labels[pool] != labels[row]]
        nearest = strangers[np.argsort(((points[strangers] - points[row]) ** 2).sum((1, 2)))[:3]]
        assert sorted(chosen[row]) == sorted(nearest)
