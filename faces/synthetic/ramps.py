"""Two ramps that every kernel of the renderer uses. Ours."""

from faces.compiled import kernel


@kernel
def step(low: float, high: float, x: float) -> float:
    """Hermite ramp 0..1 from `low` to `high` (either may be the larger)."""
    t = min(1.0, max(0.0, (x - low) / (high - low)))
    return t * t * (3 - 2 * t)


@kernel
def fade(x: float) -> float:
    """About exp(-x) for x in -2..10, without a call: (1 - x / 64)^64, at most 2 % low at x = 1.6."""
    t = max(0.0, 1.0 - x * 0.015625)
    t *= t
    t *= t
    t *= t
    t *= t
    t *= t
    return t * t
