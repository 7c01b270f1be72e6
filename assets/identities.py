"""Digests of what an asset depends on and no folder holds: the head, the encoders, what the judge fits with."""

from functools import lru_cache


@lru_cache(maxsize=4)
def head_identity(name: str) -> dict[str, str]:
    """{"edition", "digest"} of a morphable head."""
    from faces.morphable.registry import load_head

    head = load_head(name)
    return {"edition": head.edition, "digest": head.digest}


@lru_cache(maxsize=8)
def encoder_identity(name: str) -> dict[str, str]:
    """{"name", "digest"} of an identity encoder."""
    from faces.identity.registry import load_encoder

    encoder = load_encoder(name)
    return {"name": encoder.name, "digest": encoder.digest}


@lru_cache(maxsize=4)
def measurer_identity(head: str, has_truth: bool) -> str | None:
    """Digest of what the judge fits results with (locator, head and fit); None where it fits none."""
    from evaluation.measure import default_measurer
    from faces.morphable.registry import load_head

    measurer = default_measurer(load_head(head), has_truth)
    return measurer.digest if measurer is not None else None
