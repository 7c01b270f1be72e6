"""Any encoder in any swapper: shards made with one encoder train a recipe that names another; judges never train."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from shard_factory import make_shards

from faces.errors import SamaeError
from faces.identity.encoder import read_encoder, save_encoder
from faces.identity.iresnet import IResNet, IResNetConfig
from faces.identity.registry import KNOWN_ENCODERS, find_weights
from faces.morphable.registry import load_head
from training.config import load_recipe, recipe_names
from training.stream import Stream, load_faces
from training.train import fitting_parts


def other_encoder(folder: Path, seed: int = 7) -> Path:
    torch.manual_seed(seed)
    network = IResNet(IResNetConfig(depth=10, width=8, dim=24, crop_px=32, head="depthwise"))
    save_encoder(network, folder / "other.safetensors", {"licence": "Apache-2.0"})
    return folder / "other.safetensors"


@pytest.mark.parametrize("recipe", ["samae", "simswap", "blendface"])
def test_a_recipe_may_name_another_encoder_than_the_shards(tmp_path: Path, recipe: str) -> None:
    path = other_encoder(tmp_path)
    shards = make_shards(tmp_path / "shards")
    head = load_head("builtin")
    shards.head = {"edition": head.edition, "digest": head.digest}
    multipliers = ["generator.multipliers=[1, 2]"]
    made = load_recipe(recipe, [*multipliers, "size_px=32", f"identity.encoder={path}"])
    _, encoder = fitting_parts(made, shards, "cpu")
    faces = load_faces(shards, shards.keys("train")[:3])
    assert faces.embedding.shape == (3, 24)
    images = (faces.image.permute(0, 2, 3, 1) * 255).round().byte().numpy()
    wanted = read_encoder(path).embed(images, faces.landmarks.numpy())
    np.testing.assert_allclose(faces.embedding.numpy(), wanted, atol=1e-6)
    assert encoder.digest == read_encoder(path).digest


def test_a_face_is_embedded_once_and_by_itself(tmp_path: Path) -> None:
    """However often it is read and beside whom: a continued run sees the same bits as an uninterrupted one."""
    shards = make_shards(tmp_path / "shards")
    encoder, seen = read_encoder(other_encoder(tmp_path)), []

    class Counting:
        def embed(self, images: np.ndarray, landmarks_px: np.ndarray) -> np.ndarray:
            seen.append(len(images))
            return encoder.embed(images, landmarks_px)

    shards.embedder = Counting()
    keys = shards.keys("train")[:3]
    together = load_faces(shards, keys).embedding
    assert torch.equal(load_faces(shards, keys[1:]).embedding, together[1:])
    assert seen == [1, 1, 1]
    shards.embedded.clear()
    assert torch.equal(load_faces(shards, keys[2:]).embedding, together[2:])


def test_second_pictures_are_embedded_by_the_recipes_encoder(tmp_path: Path) -> None:
    shards = make_shards(tmp_path / "shards")
    encoder = shards.embedder = read_encoder(other_encoder(tmp_path))
    stream = Stream(shards, "train", 4, 0, second_every=2)
    batch = next(stream.at(0))
    others = load_faces(shards, [str(stream.second_key_at(position)) for position in range(4)])
    assert batch.second is not None
    assert torch.equal(batch.second, others.embedding)
    assert all(key != other for key, other in zip(batch.keys, others.keys, strict=True))
    pictures = (others.image.permute(0, 2, 3, 1) * 255).round().byte().numpy()
    np.testing.assert_allclose(batch.second.numpy(), encoder.embed(pictures, others.landmarks.numpy()), atol=1e-5)


def test_the_shards_own_encoder_leaves_their_embeddings_alone(tmp_path: Path) -> None:
    shards = make_shards(tmp_path / "shards")
    stored = load_faces(shards, shards.keys("train")[:3]).embedding
    assert shards.embedder is None
    assert stored.shape == (3, 16)


@pytest.mark.parametrize("name", recipe_names())
def test_no_recipe_trains_with_an_encoder_that_judges(name: str) -> None:
    judges = {known.name for known in KNOWN_ENCODERS.values() if known.judge_only}
    assert load_recipe(name).identity.encoder not in judges
    assert {"judge-1", "judge-2", "judge-3"} <= judges
    for judge in ("judge-1", "judge-2", "judge-3", "/x/glintr100.onnx", "/x/judge-1.safetensors"):
        with pytest.raises(SamaeError, match="only judges"):
            load_recipe(name, [f"identity.encoder={judge}"])


def test_a_renamed_judge_does_not_teach_either(tmp_path: Path) -> None:
    judge = find_weights(KNOWN_ENCODERS["judge-2"])
    assert judge is not None
    shutil.copy(judge, tmp_path / "mine.safetensors")
    shards = make_shards(tmp_path / "shards")
    head = load_head("builtin")
    shards.head = {"edition": head.edition, "digest": head.digest}
    recipe = load_recipe("simswap", ["size_px=32", f"identity.encoder={tmp_path / 'mine.safetensors'}"])
    with pytest.raises(SamaeError, match=r"'mine' .the weights of judge-2., which only judges"):
        fitting_parts(recipe, shards, "cpu")


def test_what_judges_was_trained_on_other_people_with_another_backbone_or_loss() -> None:
    from safetensors import safe_open

    headers = {}
    for name in ("builtin", "judge-1", "judge-2", "judge-3"):
        path = find_weights(KNOWN_ENCODERS[name])
        assert path is not None
        with safe_open(path, framework="np") as file:
            headers[name] = file.metadata()
    assert len({header["seed"] for header in headers.values()}) == 4
    assert len({(header["depth"], header["width"]) for header in headers.values()}) == 4
    assert headers["judge-1"]["loss"] == "cosface"
