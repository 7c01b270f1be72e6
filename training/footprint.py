"""How many bytes a training keeps on the disk, counted from its networks."""

from training.config import Recipe
from training.methods.base import Method

#: Bytes of a number, in checkpoints and in exports alike (float32).
NUMBER_BYTES = 4
#: Numbers that AdamW keeps for each number that is trained: two running means.
MOMENTS = 2
#: Copies of the averaged weights besides the checkpoints: the run's export and the asset's.
EXPORTS = 2


def disk_bytes(method: Method, recipe: Recipe) -> int:
    """Bytes of the checkpoints that a run keeps, the one that is written before an old one goes, and the exports."""
    trained = sum(map(_numbers, filter(None, (method.generator, method.discriminator))))
    averaged = _numbers(method.ema)
    checkpoint = trained * (1 + MOMENTS) + averaged
    return NUMBER_BYTES * (checkpoint * (recipe.train.keep_checkpoints + 1) + averaged * EXPORTS)


def _numbers(module: object) -> int:
    return sum(tensor.numel() for tensor in module.state_dict().values())  # type: ignore[attr-defined]
