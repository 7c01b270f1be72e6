"""bfloat16 where a processor computes in it, float32 where it would only be emulated."""

import pytest
import torch

from training import precision


@pytest.mark.parametrize(("is_quick", "wanted", "kind"), [
    (True, True, torch.bfloat16), (False, True, torch.float32), (True, False, torch.float32),
])  # fmt: skip
def test_half_precision_is_taken_where_it_is_wanted_and_quick(
    monkeypatch: pytest.MonkeyPatch, is_quick: bool, wanted: bool, kind: torch.dtype
) -> None:
    monkeypatch.setattr(precision, "is_bfloat16_quick", lambda device_type: is_quick)
    with precision.half_precision("cpu", wanted):
        assert (torch.ones(4, 4) @ torch.ones(4, 4)).dtype == kind


def test_a_gpu_computes_in_bfloat16_and_a_cpu_says_whether_it_does() -> None:
    assert precision.is_bfloat16_quick("cuda")
    assert isinstance(precision.is_bfloat16_quick("cpu"), bool)
