"""Exports: what is written is what is read, and what does not fit is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from method_fakes import TINY, tiny_batch, tiny_encoder, tiny_head

from faces.errors import SamaeError
from faces.identity.encoder import save_encoder
from faces.identity.iresnet import IResNet, IResNetConfig
from faces.identity.registry import load_encoder
from training.config import load_recipe
from training.export import encoder_of, export_model, load_swapper
from training.methods.base import Method, build_method


def trained(recipe: str = "samae") -> Method:
    method = build_method(load_recipe(recipe, [*TINY, "losses.adversarial=1"]), tiny_head(), tiny_encoder())
    torch.manual_seed(5)
    for parameter in method.ema.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return method


@pytest.mark.parametrize("recipe", ["samae", "simswap"])
def test_an_exported_swapper_swaps_as_the_method_did(tmp_path: Path, recipe: str) -> None:
    method, batch = trained(recipe), tiny_batch()
    export_model(method, tmp_path / "export", {"kimg": 3})
    swapper = load_swapper(tmp_path / "export", head=tiny_head())
    source, target = batch.select([4, 5]), batch.select([0, 1])
    torch.testing.assert_close(swapper.swap(source, target).image, method.swap(source, target).image, atol=0, rtol=0)
    assert (swapper.name, swapper.size_px, swapper.metadata["kimg"]) == (recipe, method.size_px, 3)
    assert sorted(p.name for p in (tmp_path / "export").iterdir()) == [
        "config.json",
        "manifest.json",
        "model.safetensors",
    ]


def test_a_damaged_export_is_refused(tmp_path: Path) -> None:
    export_model(trained(), tmp_path / "export")
    weights = tmp_path / "export" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    with pytest.raises(SamaeError, match="SHA-256"):
        load_swapper(tmp_path / "export", head=tiny_head())


def test_another_head_is_refused(tmp_path: Path) -> None:
    export_model(trained(), tmp_path / "export")
    with pytest.raises(SamaeError, match="came from another head, tiny-1"):
        load_swapper(tmp_path / "export", head=tiny_head(7))


def test_embeddings_of_another_encoder_are_refused(tmp_path: Path) -> None:
    export_model(trained(), tmp_path / "export")
    swapper = load_swapper(tmp_path / "export", head=tiny_head())
    batch = tiny_batch(2)
    wrong = type(batch)(**{**vars(batch), "embedding": torch.randn(2, 5)})
    with pytest.raises(SamaeError, match="embed the faces with that encoder"):
        swapper.swap(wrong, batch)
    lost = replace(swapper, encoder_source="tiny")
    with pytest.raises(SamaeError, match="no identity encoder is called 'tiny'"):
        encoder_of(lost)


def test_an_encoder_given_by_its_path_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    save_encoder(IResNet(IResNetConfig(depth=10, width=8, dim=24, crop_px=32, head="depthwise")), path, {})
    recipe = load_recipe("simswap", [*TINY, f"identity.encoder={path}"])
    export_model(build_method(recipe, tiny_head(), load_encoder(str(path))), tmp_path / "export")
    swapper = load_swapper(tmp_path / "export", head=tiny_head())
    assert swapper.encoder == "own"
    assert encoder_of(swapper).digest == swapper.encoder_digest == load_encoder(str(path)).digest
    assert swapper.trained_with == ("own", swapper.encoder_digest)


def test_an_unfinished_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SamaeError, match="never finished"):
        load_swapper(tmp_path / "nothing")
