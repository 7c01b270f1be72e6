"""Recipes of identity encoders: training/recipes/encoders/NAME.yaml, read as the swappers' recipes are."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faces.errors import SamaeError
from faces.files import digest_of
from faces.identity.iresnet import IResNetConfig
from training.config import RECIPE_FOLDER
from training.settings_tree import build_settings, read_tree

ENCODER_FOLDER = RECIPE_FOLDER / "encoders"


@dataclass(frozen=True, kw_only=True)
class EncoderRecipe:
    """Everything that decides an encoder's weights.

    Attributes:
        depth, width, dim, crop_px, head: size of the IResNet (faces/identity/iresnet.py).
        loss: "arcface" (additive angle) or "cosface" (additive cosine).
        margin: radians for arcface, cosine for cosface.  scale: s of both papers.
        data: "people" (generated) or a folder with one folder an identity.
        people, pictures_per_person: generated training set.  held_out_people: people that only verify (of
            a folder a tenth at most, and two at least).
        render_px: size of the generated pictures before the crop.
        leave_out_single: True drops people of a folder who have one picture, in place of an error.
        blend_probability: how often a picture is blended into a neighbour's (BlendFace; 0 is ArcFace).
        blend_ramp: share of the epochs over which that rises, epoch by epoch, from never; 0: as published, not at all.
        blend_candidates: partners are drawn among so many nearest pictures of other people.
        epochs, batch_size, learning_rate, weight_decay, schedule: SGD with momentum 0.9; "one_cycle" or "polynomial".
        start_from: name or path of an encoder of the same size whose weights are the start; "" starts at random.
    """

    name: str = "encoder"
    description: str = ""
    depth: int = 18
    width: int = 24
    dim: int = 256
    crop_px: int = 64
    head: str = "depthwise"
    loss: str = "arcface"
    scale: float = 32.0
    margin: float = 0.3
    data: str = "people"
    people: int = 700
    pictures_per_person: int = 8
    held_out_people: int = 60
    render_px: int = 128
    leave_out_single: bool = False
    seed: int = 101
    blend_probability: float = 0.0
    blend_ramp: float = 0.0
    blend_candidates: int = 100
    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 0.2
    weight_decay: float = 5e-4
    schedule: str = "one_cycle"
    start_from: str = ""

    def __post_init__(self) -> None:
        allowed = {"loss": {"arcface", "cosface"}, "head": {"fc", "depthwise"}, "schedule": {"one_cycle", "polynomial"}}
        for key, values in allowed.items():
            if getattr(self, key) not in values:
                raise SamaeError(f"the {key} is {' or '.join(sorted(values))}, not {getattr(self, key)!r}")
        if self.pictures_per_person < 2:
            raise SamaeError("an encoder needs at least 2 pictures of every person: raise pictures_per_person")
        if self.people < 2:
            raise SamaeError("an encoder tells people apart and needs at least 2 of them: raise people")
        for key in ("blend_probability", "blend_ramp"):
            if not 0 <= getattr(self, key) <= 1:
                raise SamaeError(f"{key} is a share of 0..1, not {getattr(self, key)}")
        _ = self.network  # sizes that no network can have are refused before any picture is drawn

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)

    @property
    def network(self) -> IResNetConfig:
        """Size of the network that it trains."""
        sizes = {key: getattr(self, key) for key in ("depth", "width", "dim", "crop_px", "head")}
        return IResNetConfig(**sizes)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits over every setting but name and description, and a ramp of 0: it changes nothing, and
        runs that began before there was one go on."""
        ignored = ("name", "description", *(() if self.blend_ramp else ("blend_ramp",)))
        return digest_of({key: value for key, value in self.as_dict().items() if key not in ignored})


def encoder_recipe_names() -> list[str]:
    """The encoder recipes that come with the project, sorted."""
    return sorted(path.stem for path in ENCODER_FOLDER.glob("*.yaml"))


def load_encoder_recipe(name_or_path: str | Path, overrides: list[str] | None = None) -> EncoderRecipe:
    """An encoder's recipe by name or path, with overrides "key=value".

    Raises:
        SamaeError: an unknown recipe, key or type, with the nearest known spelling.
    """
    recipe = build_settings(EncoderRecipe, read_tree(name_or_path, ENCODER_FOLDER, overrides or []))
    assert isinstance(recipe, EncoderRecipe)
    return recipe
