"""Half precision where it pays: bfloat16 by torch.autocast, and float32 on processors that only emulate it.

A CPU without AVX-512 (nor AMX, nor AVX2-VNNI-2) computes bfloat16 convolutions by a fallback, 13 times slower than
float32 (3x3, 64 channels, one Zen 3 core, scratch measurement); the weights are float32 either way.
"""

from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

import torch

#: Said at the start of a training where float32 takes bfloat16's place.
NOTE = "this processor only emulates bfloat16, which would be slower by an order of magnitude: float32 in its place"


@lru_cache(maxsize=4)
def is_bfloat16_quick(device_type: str) -> bool:
    """Whether a device computes in bfloat16, and does not emulate it."""
    if device_type != "cpu":
        return True
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def half_precision(device_type: str, is_wanted: bool = True) -> AbstractContextManager[Any]:
    """bfloat16 autocast where it is wanted and quick; else a block that changes nothing."""
    return torch.autocast(device_type, dtype=torch.bfloat16, enabled=is_wanted and is_bfloat16_quick(device_type))
