"""The environment of a measured process: what the benchmark sets, and nobody's own SAMAE_* but the weights folder."""

import os


def clean_environment(**settings: str) -> dict[str, str]:
    """This process's environment without its SAMAE_* (SAMAE_WEIGHTS stays), with these settings over it."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SAMAE_") or k == "SAMAE_WEIGHTS"}
    return kept | settings
