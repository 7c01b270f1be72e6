"""One generator at several sizes: SAMAE's U-Net reads and writes its picture in patches of `generator.patch_px`.

Twice the picture with twice the patch is the same trunk: only the first and the last convolution differ, since their
channels are the pixels of a patch. So weights grow with the picture and shrink with it, and training goes on from
there (ours; the paper trains at one size). Between them lies `trunk_px`, the side of the trunk's largest map.
"""

import re
from typing import Any

import torch
import torch.nn.functional as F

from faces.errors import SamaeError

#: The only method whose generator has patches.
METHOD = "samae"
#: A pixel a patch is no patch: recipes of small pictures keep this, and their trunk becomes smaller.
LEAST_PATCH_PX = 2
#: The generator's tensors whose channels are the pixels of a patch: name -> (axis, whether it reads the picture).
PATCHED = {"net.stem.weight": (1, True), "net.out.weight": (0, False), "net.out.bias": (0, False)}


def family(recipe_name: str) -> str:
    """A recipe's name without its size: samae-128 -> samae. Recipes of a family share weights where trunks fit."""
    return re.sub(r"-\d+$", "", recipe_name)


def trunk_px(recipe: dict[str, Any]) -> int:
    """Side of the trunk's largest map, px, of a recipe as a tree; the picture's own side for other methods."""
    size_px = int(recipe["size_px"])
    return size_px // int(recipe["generator"]["patch_px"]) if recipe["method"] == METHOD else size_px


def patch_at(recipe: dict[str, Any], size_px: int) -> int:
    """The patch, px, that keeps the trunk of a recipe (a tree) at pictures `size_px` wide; its own where none does."""
    patch, own_px = int(recipe["generator"]["patch_px"]), int(recipe["size_px"])
    wanted, rest = divmod(patch * size_px, own_px)
    return wanted if recipe["method"] == METHOD and patch > 1 and not rest and wanted >= LEAST_PATCH_PX else patch


def recipe_at(recipe: dict[str, Any], size_px: int) -> dict[str, Any]:
    """The recipe (a tree) of the same trunk for pictures `size_px` wide; SamaeError where the trunk would differ."""
    generator = recipe["generator"] | {"patch_px": patch_at(recipe, size_px)}
    found = recipe | {"size_px": size_px, "generator": generator}
    if trunk_px(found) != trunk_px(recipe):
        raise SamaeError(
            f"{recipe['name']} was trained at {recipe['size_px']} px and cannot work at {size_px} px; use pictures of "
            f"{recipe['size_px']} px (SAMAE_PICTURE_PX), or train it at {size_px} px"
        )
    return found


def resized(tensors: dict[str, torch.Tensor], patch_px: int, wanted_px: int) -> dict[str, torch.Tensor]:
    """Weights of SAMAE's generator with patches of `patch_px` -> with patches of `wanted_px`, float32.

    Growing repeats each pixel's output and shares its input out, shrinking takes means and sums: the network sees a
    grown picture's patches as their means. Growing and then shrinking gives back the same weights.
    """
    found = {name: tensor.float() for name, tensor in tensors.items()}
    if patch_px == wanted_px:
        return found
    for name, (axis, reads) in PATCHED.items():
        if name in found:
            share = (patch_px / wanted_px) ** 2 if reads else 1.0
            found[name] = _across(found[name].movedim(axis, 0), patch_px, wanted_px).movedim(0, axis) * share
    return {name: tensor.contiguous() for name, tensor in found.items()}


def _across(weights: torch.Tensor, patch_px: int, wanted_px: int) -> torch.Tensor:
    """(C * patch², ...) in pixel_shuffle's order -> (C * wanted², ...)."""
    rest = weights.shape[1:]
    pixels = weights.reshape(-1, patch_px, patch_px, rest.numel()).movedim(-1, 1)
    made = F.adaptive_avg_pool2d(pixels, wanted_px)
    return made.movedim(1, -1).reshape(-1, *rest)
