"""Every setting that changes what an asset holds. Where things run (Ray, MLflow, folders) is pipelines/settings.py's.

All defaults are ours, sized so that the whole graph takes under ten minutes on two cores without a GPU.
"""

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_settings import NoDecode

from faces.files import digest_of

Names = Annotated[tuple[str, ...], NoDecode]
#: Between two entries of a list of settings; a comma within brackets belongs to its entry (`a.b=[1,2]`).
BETWEEN = re.compile(r",(?![^\[{]*[\]}])")


class Plan(BaseModel):
    """What is prepared, trained and judged. Two equal plans on the same photographs give the same assets."""

    model_config = ConfigDict(frozen=True)

    raw: Path | None = Field(None, description="folder in FFHQ layout; without it people are generated")
    photographs: int = Field(1000, ge=8, le=1_000_000, description="how many photographs of people to generate")
    photo_px: int = Field(128, ge=64, le=1024, description="width of the generated photographs, px")
    licences: Names = Field((), description="licences that are kept, as the listing writes them; empty keeps all")
    deny_list: Path | None = Field(None, description="JSON with lists photo_url, author, md5 of what to leave out")
    least_sharpness: float = Field(0.2, ge=0, description="fine detail over contrast below which a picture is blurred")
    most_yaw_degrees: float = Field(75.0, gt=0, le=180, description="profiles further round than this are left out")
    most_pitch_degrees: float = Field(45.0, gt=0, le=180, description="heads bowed or raised further are left out")
    seed: int = Field(0, ge=0, description="seed of the generated people, of the pairs and of training")
    aligned_px: int = Field(
        128,
        ge=32,
        le=1024,
        description="least width at which faces are fitted, px; photographs are masked better at 256",
    )
    picture_px: int = Field(64, ge=32, le=1024, description="width of the pictures in the shards, px")
    head: str = Field("builtin", description="morphable head: builtin, ict, bfm or flame; NAME:PATH says where")
    encoder: str = Field("builtin", description="identity encoder that training uses: a name or a path")
    judges: Names = Field(("judge-1", "judge-2", "judge-3"), description="identity encoders that only judge")
    recipes: Names = Field(("samae", "simswap"), description="recipes to train and compare")
    kimg: Names = Field(("samae=6", "simswap=3"), description="thousands of pictures to train on, recipe=kimg")
    from_scratch: bool = Field(
        False, description="train from the beginning also where weights that come with the project fit generated people"
    )
    overrides: Names = Field((), description="other recipe settings, a.b=value; recipe:a.b=value for one recipe alone")
    ranks: int = Field(
        0, ge=0, le=1024, description="training processes; 0: one a GPU, without GPUs one a core as far as they fit"
    )
    pairs: int = Field(100, ge=4, le=100_000, description="how many source-target pairs the judge swaps")

    @field_validator("judges", "recipes", "kimg", "overrides", "licences", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in BETWEEN.split(value) if part.strip()) if isinstance(value, str) else value

    @field_validator("recipes")
    @classmethod
    def _some_recipe(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("name at least one recipe, for example samae")
        return value

    @field_validator("kimg")
    @classmethod
    def _kimg_are_numbers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for part in value:
            recipe, _, number = part.partition("=")
            try:
                good = bool(recipe) and float(number) > 0
            except ValueError:
                good = False
            if not good:
                raise ValueError(f"{part!r} is not recipe=kimg, for example samae=20")
        return value

    @property
    def working_px(self) -> int:
        """Width of the aligned pictures: never smaller than those that training wants."""
        return max(self.aligned_px, self.picture_px)

    @property
    def people(self) -> int:
        """How many different people the generated photographs show: about four pictures each."""
        return max(self.photographs // 4, 2)

    @property
    def set_name(self) -> str:
        """Short name of the set of photographs; it names folders."""
        if self.raw is not None:
            return self.raw.resolve().name.lower()
        return f"people-{self.photographs}x{self.photo_px}" + (f"-s{self.seed}" if self.seed else "")

    @property
    def source_identity(self) -> dict[str, Any]:
        """What set the photographs belong to, whatever its extent: one more folder does not change it."""
        if self.raw is not None:
            return {"raw": self.raw.resolve().name}
        return {"generator": "people", "seed": self.seed, "people": self.people, "photo_px": self.photo_px}

    def kimg_of(self, recipe: str) -> float | None:
        """Training length of a recipe in thousands of pictures; None leaves it to the recipe."""
        given = dict(part.split("=", 1) for part in self.kimg)
        return float(given[recipe]) if recipe in given else None

    def overrides_of(self, recipe: str) -> list[str]:
        """The settings for one recipe, as `a.b=value`."""
        chosen = []
        for part in self.overrides:
            name, colon, rest = part.split("=", 1)[0].partition(":")
            if not colon:
                chosen.append(part)
            elif name == recipe:
                chosen.append(rest + part[len(name) + 1 + len(rest) :])
        return chosen

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of the whole plan."""
        return digest_of(self.model_dump(mode="json"))
