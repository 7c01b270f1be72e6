"""Run as a script: every asset from the photographs to the shards, by the settings of the environment."""

from assets.graph import STAGES
from pipelines.materialise import materialise_all, open_instance
from pipelines.settings import load_settings
from pipelines.terminal import Terminal


def main() -> None:
    """Make what is not up to date; one line a stage."""
    settings = load_settings()
    stages = [name for name in STAGES if name != "identity_encoder"]
    with open_instance(settings) as instance, Terminal(plain=True) as terminal:
        until = stages[: stages.index("training_shards") + 1]
        materialise_all(settings, instance, terminal.started, terminal.ended, tuple(until))


if __name__ == "__main__":
    main()
