"""Networks: shapes, parameter counts, gradients, the fused norm against torch's."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from faces.errors import SamaeError
from training.networks.norm import group_norm
from training.networks.patchgan import MultiScaleDiscriminator
from training.networks.simswap import IdBlock, SimSwapGenerator
from training.networks.unet import UNet, group_count
from training.networks.vgg import VggFeatures, load_vgg


def small_unet(**settings: int) -> UNet:
    torch.manual_seed(0)
    sizes = {"width": 16, "multipliers": (1, 2), "attention_px": (8,), "condition_width": 16, "patch_px": 2} | settings
    return UNet(7, 3, 10, size_px=32, **sizes)  # type: ignore[arg-type]


def test_simswap_has_the_official_parameter_count() -> None:
    with torch.device("meta"):
        network = SimSwapGenerator(512, width=64, multipliers=(1, 2, 4, 8), blocks=9)
        block = IdBlock(512, 512)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == 55_051_779
    assert 9 * sum(parameter.numel() for parameter in block.parameters()) == 51_932_160


def test_simswap_keeps_the_size_and_listens_to_the_identity() -> None:
    torch.manual_seed(0)
    network = SimSwapGenerator(8, width=8, multipliers=(1, 2), blocks=2).eval()
    picture, identity = torch.rand(2, 3, 24, 24), F.normalize(torch.randn(2, 8), dim=1)
    one, other = network(picture, identity), network(picture, identity.flip(0))
    assert one.shape == picture.shape
    assert (one - other).abs().max() > 1e-4


def test_the_unet_says_nothing_before_training_and_every_weight_learns() -> None:
    network = small_unet()
    pictures, condition = torch.randn(2, 7, 32, 32), torch.randn(2, 10)
    assert network(pictures, condition).abs().max() == 0
    torch.nn.init.normal_(network.out.weight)
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d) and layer.weight.abs().max() == 0:
            torch.nn.init.normal_(layer.weight, std=0.1)
    network(pictures, condition).square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or p.grad.abs().max() == 0] == []


@pytest.mark.parametrize("patch_px", [1, 2])
def test_the_unet_keeps_the_size(patch_px: int) -> None:
    network = small_unet(patch_px=patch_px)
    assert network(torch.randn(1, 7, 32, 32), torch.randn(1, 10)).shape == (1, 3, 32, 32)


def test_the_unet_is_finite_in_bfloat16() -> None:
    network = small_unet()
    torch.nn.init.normal_(network.out.weight)
    pictures = torch.randn(2, 7, 32, 32).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made = network(pictures, 5 * torch.randn(2, 10))
    made.float().square().mean().backward()
    assert made.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_fused_norm_equals_torch_with_gradients(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    x = (torch.randn(3, 16, 7, 5) * 2 + 1).contiguous(memory_format=layout)
    scale, shift, upstream = torch.randn(3, 16), torch.randn(3, 16), torch.randn(3, 16, 7, 5)
    ours = [value.clone().requires_grad_() for value in (x, scale, shift)]
    theirs = [value.clone().requires_grad_() for value in (x, scale, shift)]
    made = group_norm(*ours, groups=4)
    wanted = F.group_norm(theirs[0], 4) * theirs[1][:, :, None, None] + theirs[2][:, :, None, None]
    made.backward(upstream)
    wanted.backward(upstream)
    torch.testing.assert_close(made, wanted, atol=1e-5, rtol=1e-5)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad, atol=2e-5, rtol=1e-4)


def test_group_counts_divide_and_keep_eight_channels() -> None:
    assert [group_count(channels) for channels in (4, 16, 64, 96, 512)] == [1, 2, 8, 12, 32]


def test_the_discriminator_gives_maps_of_every_scale() -> None:
    network = MultiScaleDiscriminator(3, width=8, layers=3, scales=2)
    outputs = network(torch.randn(2, 3, 32, 32))
    assert [[tuple(m.shape[1:]) for m in maps] for maps in outputs] == [
        [(8, 16, 16), (16, 8, 8), (32, 4, 4), (1, 4, 4)],
        [(8, 8, 8), (16, 4, 4), (32, 2, 2), (1, 2, 2)],
    ]


def test_vgg_reads_torchvision_names_and_names_what_is_missing(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = {name.replace("convs.", "features."): value for name, value in VggFeatures().state_dict().items()}
    assert "features.28.weight" in state
    assert state["features.21.weight"].shape == (512, 512, 3, 3)
    save_file(state, tmp_path / "vgg16.safetensors")
    maps = load_vgg(tmp_path / "vgg16.safetensors")(torch.rand(1, 3, 32, 32))
    assert [tuple(m.shape[1:]) for m in maps] == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)]
    del state["features.2.bias"]
    save_file(state, tmp_path / "vgg16.safetensors")
    with pytest.raises(SamaeError, match=r"features\.2\.bias"):
        load_vgg(tmp_path / "vgg16.safetensors")
