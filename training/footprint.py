"""How many bytes a training keeps on the disk, counted from its networks."""

import torch

from training.config import Recipe
from training.encoder.loop import KEPT_CHECKPOINTS, build_network
from training.encoder.recipe import EncoderRecipe
from training.methods.base import Method

#: Bytes of a number, in checkpoints and in exports alike (float32).
NUMBER_BYTES = 4
#: Numbers that AdamW keeps for each number that is trained: two running means.
MOMENTS = 2
#: Copies of the averaged weights besides the checkpoints: the run's export and the asset's.
EXPORTS = 2
#: Bytes of an encoder's crop besides its pixels: 68 landmarks of two float32, and its label (int64).
CROP_BYTES = 68 * 2 * NUMBER_BYTES + 8
#: Bytes of a number in an encoder's file (float16).
FILE_NUMBER_BYTES = 2


def disk_bytes(method: Method, recipe: Recipe) -> int:
    """Bytes of the checkpoints that a run keeps, the one that is written before an old one goes, and the exports."""
    trained = sum(map(_numbers, filter(None, (method.generator, method.discriminator))))
    averaged = _numbers(method.ema)
    checkpoint = trained * (1 + MOMENTS) + averaged
    return NUMBER_BYTES * (checkpoint * (recipe.train.keep_checkpoints + 1) + averaged * EXPORTS)


def encoder_disk_bytes(recipe: EncoderRecipe) -> int:
    """Bytes of an encoder's crops (picture and mask), of the checkpoints that its run keeps, the one that is written
    before an old one goes, and its file. Of a user's folder, crops and class centres are not counted."""
    people = recipe.people if recipe.data == "people" else 0
    pictures = (people + recipe.held_out_people) * recipe.pictures_per_person if people else 0
    with torch.device("meta"):
        network = build_network(recipe)
    weights, centres = _numbers(network), people * recipe.dim
    momentum = sum(one.numel() for one in network.parameters()) + centres
    checkpoint = weights + centres + momentum
    kept = NUMBER_BYTES * checkpoint * (KEPT_CHECKPOINTS + 1) + FILE_NUMBER_BYTES * weights
    return pictures * (4 * recipe.crop_px**2 + CROP_BYTES) + kept


def _numbers(module: object) -> int:
    return sum(tensor.numel() for tensor in module.state_dict().values())  # type: ignore[attr-defined]
