"""`samae swap SOURCE TARGET`: one swap of two faces of the shards by a registered or a freshly trained model."""

from pathlib import Path

from faces.errors import SamaeError
from faces.files import write_bytes
from faces.records import encode_png
from pipelines.commands.demo import quieten
from pipelines.settings import Settings, load_settings


def run(source: str, target: str, out: Path, model: str) -> None:
    """Swap and write a PNG of source, target and result side by side."""
    quieten()
    settings = load_settings()
    shards = settings.store.folder("training_shards")
    settings.store.manifest("training_shards")
    import numpy as np

    from assets.judging import load_faces_of
    from training.export import load_swapper

    swapper = load_swapper(export_of(settings, model))
    faces = load_faces_of(shards, [source, target])
    made = swapper.swap(faces.select([0]), faces.select([1]))
    row = [faces.image[0], faces.image[1], made.image[0]]
    pixels = np.concatenate([part.detach().float().numpy().transpose(1, 2, 0) for part in row], axis=1)
    write_bytes(out, encode_png((pixels.clip(0, 1) * 255).round().astype(np.uint8)))
    print(f"{out}: source, target, result")


def export_of(settings: Settings, model: str) -> Path:
    """The folder of a model named by alias, version or recipe."""
    recipe = settings.store.folder("swap_model", model) / "export"
    if recipe.is_dir():
        return recipe
    from pipelines.commands.models import tracking

    tracker = tracking()
    number = tracker.aliases().get(model, model)
    if number not in {str(version.version) for version in tracker.versions()}:
        raise SamaeError(
            f"no model, alias or trained recipe is called {model!r}; `samae models list` shows what there is"
        )
    return tracker.export_folder(number)
