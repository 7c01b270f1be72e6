"""One trunk at several sizes: weights that grow and shrink with the picture, and recipes that follow its size."""

from pathlib import Path

import pytest
import torch
from method_fakes import TINY, tiny_encoder, tiny_head
from safetensors.torch import load_file

from faces.errors import SamaeError
from training.config import load_recipe
from training.export import export_model, load_swapper
from training.growing import PATCHED, family, patch_at, recipe_at, resized, trunk_px
from training.methods.base import Method, build_method
from training.methods.samae import SamaeGenerator
from training.weights import find_weights, start_from


def method_of(size_px: int, patch_px: int, seed: int = 0) -> Method:
    sizes = (f"size_px={size_px}", f"generator.patch_px={patch_px}", f"seed={seed}")
    return build_method(load_recipe("samae", [*TINY, *sizes]), tiny_head(), tiny_encoder())


def awake(method: Method) -> Method:
    """The last convolution starts at zero; give it and its bias numbers, or nothing would be compared."""
    generator = torch.Generator().manual_seed(1)
    for module in (method.generator, method.ema):
        for name in ("net.out.weight", "net.out.bias"):
            parameter = dict(module.named_parameters())[name]
            with torch.no_grad():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return method


def test_a_grown_network_says_the_same_of_a_grown_picture() -> None:
    small, large = awake(method_of(32, 2)).ema, method_of(64, 4).ema
    assert isinstance(small, SamaeGenerator)
    assert isinstance(large, SamaeGenerator)
    large.load_state_dict(resized(small.state_dict(), 2, 4))
    generator = torch.Generator().manual_seed(2)
    pictures = torch.rand(2, 7, 32, 32, generator=generator)
    vector = torch.randn(2, small.net.embed[0].in_features, generator=generator)  # type: ignore[arg-type]
    said = small.net(pictures, vector)
    grown = large.net(pictures.repeat_interleave(2, 2).repeat_interleave(2, 3), vector)
    assert said.abs().mean() > 0.1
    torch.testing.assert_close(grown, said.repeat_interleave(2, 2).repeat_interleave(2, 3), atol=1e-4, rtol=1e-4)


def test_growing_and_shrinking_gives_the_same_weights() -> None:
    weights = awake(method_of(32, 2)).ema.state_dict()
    grown = resized(weights, 2, 8)
    assert grown["net.out.bias"].shape == (3 * 64,)
    back = resized(grown, 8, 2)
    assert back.keys() == weights.keys()
    for name, value in weights.items():
        torch.testing.assert_close(back[name], value.float())
        assert (grown[name].shape == value.shape) == (name not in PATCHED)


def test_half_precision_becomes_single() -> None:
    halves = {name: value.half() for name, value in method_of(32, 2).ema.state_dict().items()}
    for wanted_px in (2, 4):
        assert all(value.dtype == torch.float32 for value in resized(halves, 2, wanted_px).values())


def test_an_export_swaps_at_another_size(tmp_path: Path) -> None:
    export_model(awake(method_of(64, 4)), tmp_path / "export")
    own, small = (load_swapper(tmp_path / "export", head=tiny_head(), size_px=size_px) for size_px in (None, 32))
    assert (own.size_px, small.size_px) == (64, 32)
    expected = resized(load_file(tmp_path / "export" / "model.safetensors"), 4, 2)
    found = small.method.ema.state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    with pytest.raises(SamaeError, match=r"trained at 64 px and cannot work at 40 px.*SAMAE_PICTURE_PX"):
        load_swapper(tmp_path / "export", head=tiny_head(), size_px=40)


def test_training_goes_on_at_another_size(tmp_path: Path) -> None:
    export_model(awake(method_of(32, 2, seed=3)), tmp_path / "export")
    larger = method_of(64, 4)
    start_from(larger, find_weights(str(tmp_path / "export")))
    expected = resized(load_file(tmp_path / "export" / "model.safetensors"), 2, 4)
    for module in (larger.generator, larger.ema):
        assert all(torch.equal(module.state_dict()[name], value) for name, value in expected.items())
    with pytest.raises(SamaeError, match="their trunk_px is 16, this run's 32"):
        start_from(method_of(64, 2), find_weights(str(tmp_path / "export")))


@pytest.mark.parametrize(
    ("recipe", "size_px", "patch_px"),
    [
        ("samae", 64, 2),
        ("samae", 128, 4),
        ("samae", 256, 8),
        ("samae", 32, 2),  # a patch of one pixel is none
        ("samae", 96, 3),
        ("samae", 80, 2),  # no whole patch keeps the trunk
        ("samae-128", 128, 4),
        ("samae-128", 64, 2),
        ("samae-256", 128, 1),
        ("simswap", 128, 2),
    ],
)
def test_the_patch_follows_the_picture(recipe: str, size_px: int, patch_px: int) -> None:
    assert patch_at(load_recipe(recipe).as_dict(), size_px) == patch_px


def test_families_and_trunks() -> None:
    assert family("samae") == family("samae-128") == "samae"
    assert family("samae-no-perforation") == "samae-no-perforation"
    trees = {name: load_recipe(name).as_dict() for name in ("samae", "samae-128", "samae-256", "simswap")}
    assert {name: trunk_px(tree) for name, tree in trees.items()} == {
        "samae": 32, "samae-128": 32, "samae-256": 256, "simswap": 64,
    }  # fmt: skip
    assert recipe_at(trees["samae-128"], 64)["generator"] == trees["samae"]["generator"]
    with pytest.raises(SamaeError, match="cannot work at 128 px"):
        recipe_at(trees["simswap"], 128)


def test_the_weights_are_not_touched() -> None:
    weights = {name: value.clone() for name, value in method_of(32, 2).ema.state_dict().items()}
    before = {name: value.clone() for name, value in weights.items()}
    resized(weights, 2, 4)
    assert all(torch.equal(weights[name], value) for name, value in before.items())
