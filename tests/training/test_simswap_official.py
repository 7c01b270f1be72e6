"""Official SimSwap checkpoints: the name map is strict, and the rewritten range gives what their network would give."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from faces.errors import SamaeError
from training.networks.simswap import SimSwapGenerator
from training.networks.simswap_official import DEVIATION, MEAN, load_official, official_names


def official_state() -> dict[str, torch.Tensor]:
    """A checkpoint with the official names, written out here by hand from the released network's definition."""
    torch.manual_seed(0)
    state: dict[str, torch.Tensor] = {}

    def conv(name: str, out: int, inside: int, side: int) -> None:
        state[f"{name}.weight"] = torch.randn(out, inside, side, side) / (inside * side**2) ** 0.5
        state[f"{name}.bias"] = torch.randn(out) * 0.1

    def norm(name: str, width: int) -> None:
        state[f"{name}.weight"], state[f"{name}.bias"] = torch.ones(width), torch.zeros(width)
        state[f"{name}.running_mean"], state[f"{name}.running_var"] = torch.zeros(width), torch.ones(width)
        state[f"{name}.num_batches_tracked"] = torch.tensor(1)

    conv("first_layer.1", 64, 3, 7)
    norm("first_layer.2", 64)
    widths = [64, 128, 256, 512]
    for level in (1, 2, 3):
        conv(f"down{level}.0", widths[level], widths[level - 1], 3)
        norm(f"down{level}.1", widths[level])
        conv(f"up{level}.1", widths[level - 1], widths[level], 3)
        norm(f"up{level}.2", widths[level - 1])
    for block in range(9):
        for part in (1, 2):
            conv(f"BottleNeck.{block}.conv{part}.1", 512, 512, 3)
            state[f"BottleNeck.{block}.style{part}.linear.weight"] = torch.randn(1024, 512) * 0.02
            state[f"BottleNeck.{block}.style{part}.linear.bias"] = torch.zeros(1024)
    conv("last_layer.1", 3, 64, 7)
    return state


def their_network(state: dict[str, torch.Tensor], x: torch.Tensor, identity: torch.Tensor) -> torch.Tensor:
    """The released network's arithmetic on their own value range, up to the last convolution."""

    def conv(name: str, x: torch.Tensor, reflect: int = 0, **how: int) -> torch.Tensor:
        x = F.pad(x, (reflect,) * 4, mode="reflect") if reflect else x
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], **how)

    def normed(name: str, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x / (1 + 1e-5) ** 0.5)

    x = normed("first_layer.2", conv("first_layer.1", x, 3))
    for level in (1, 2, 3):
        x = normed("", conv(f"down{level}.0", x, stride=2, padding=1))
    for block in range(9):
        h = x
        for part in (1, 2):
            h = conv(f"BottleNeck.{block}.conv{part}.1", h, 1)
            h = h - h.mean((2, 3), keepdim=True)
            h = h * torch.rsqrt(h.square().mean((2, 3), keepdim=True) + 1e-8)
            style = f"BottleNeck.{block}.style{part}.linear"
            scale, shift = F.linear(identity, state[f"{style}.weight"], state[f"{style}.bias"]).chunk(2, 1)
            h = h * (1 + scale[:, :, None, None]) + shift[:, :, None, None]
            h = F.relu(h) if part == 1 else h
        x = x + h
    for level in (3, 2, 1):
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        x = normed("", conv(f"up{level}.1", x, padding=1))
    return conv("last_layer.1", x, 3)


@pytest.mark.parametrize("form", ["tanh", "linear"])
def test_an_official_checkpoint_gives_what_the_official_network_gives(tmp_path: Path, form: str) -> None:
    state = official_state()
    torch.save(state, tmp_path / "latest_net_G.pth")
    network = load_official(tmp_path / "latest_net_G.pth", form)  # type: ignore[arg-type]
    assert sum(p.numel() for p in network.parameters()) == 55_051_779
    picture, identity = torch.rand(1, 3, 32, 32), F.normalize(torch.randn(1, 512), dim=1)
    with torch.no_grad():
        made = network(picture, identity)
        if form == "tanh":
            wanted = (torch.tanh(their_network(state, picture, identity)) + 1) / 2
        else:
            mean, deviation = MEAN[:, None, None], DEVIATION[:, None, None]
            wanted = their_network(state, (picture - mean) / deviation, identity) * deviation + mean
    torch.testing.assert_close(made, wanted, atol=2e-4, rtol=1e-3)


def test_every_missing_and_unexpected_name_is_reported(tmp_path: Path) -> None:
    state = official_state()
    state["up4.1.weight"] = state.pop("up1.1.weight")
    state["down2.0.bias"] = torch.zeros(3)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(SamaeError) as caught:
        load_official(tmp_path / "other.pth")
    for words in ("missing 1 (up1.1.weight)", "unexpected 1 (up4.1.weight)", "another shape 1 (down2.0.bias)"):
        assert words in str(caught.value)


def test_a_pickled_object_is_refused(tmp_path: Path) -> None:
    torch.save(SimSwapGenerator(8, width=4, multipliers=(1, 2), blocks=1), tmp_path / "whole.pth")
    with pytest.raises(SamaeError, match="no plain state dictionary"):
        load_official(tmp_path / "whole.pth")


def test_the_deep_form_has_the_512_networks_parameters() -> None:
    with torch.device("meta"):
        network = SimSwapGenerator(512, width=64, multipliers=(1, 2, 4, 8, 8), blocks=9)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(59.77e6, abs=5e3)
    assert len(official_names(4)) == 3 + 4 * 4 + 9 * 4
