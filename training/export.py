"""A trained swapper as a folder: model.safetensors (averaged weights, float32), config.json, manifest.json.

Written by the trainer at the end of a run and at every snapshot it wants kept; read by the judge, the report, the
registry and `samae swap` through `load_swapper`. Nothing in it is ever unpickled.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from faces.errors import SamaeError
from faces.files import atomic_folder, read_json, read_manifest
from faces.identity.registry import load_encoder
from faces.morphable.base import MorphableHead
from faces.morphable.registry import load_head, require_same_edition
from training.batch import FaceBatch, SwapResult
from training.config import recipe_from_dict
from training.growing import recipe_at, resized
from training.methods.base import Method, build_method

#: Raise when a reader of this version could misread an older export.
FORMAT = 1
#: Raise when the same weights give another swap: what was judged by older code is then judged again.
SWAP_VERSION = 2


@dataclass(frozen=True)
class EmbeddingOnly:
    """Stands in for the identity encoder at a swap: embeddings arrive with the batch, only the width is needed."""

    name: str
    dim: int

    def embed_tensor(self, images: torch.Tensor, landmarks_px: torch.Tensor) -> torch.Tensor:
        """Never called at a swap; a SamaeError says so."""
        raise SamaeError("an exported swapper does not embed faces; embed them with faces.identity.load_encoder")


@dataclass(frozen=True)
class TrainedSwapper:
    """What `load_swapper` gives: a Swapper with its origin.

    Attributes:
        name: recipe name.  size_px: picture side.  encoder: name of the encoder that source embeddings must come from.
        encoder_source: what load_encoder finds it by, its name or the path of its file.
        metadata: what the trainer said about the run (digests, kimg, commit).
    """

    name: str
    size_px: int
    encoder: str
    encoder_source: str
    encoder_digest: str
    metadata: dict[str, Any]
    method: Method

    @property
    def trained_with(self) -> tuple[str, ...]:
        """Name and digest of the encoder that trained it, which must not judge it."""
        return tuple(given for given in (self.encoder, self.encoder_digest) if given)

    def swap(self, source: FaceBatch, target: FaceBatch) -> SwapResult:
        """Source's identity in target's picture; see training.batch.Swapper."""
        width = self.metadata["embedding_dim"]
        if source.embedding.shape[1] != width:
            raise SamaeError(
                f"the source embeddings have {source.embedding.shape[1]} numbers, but {self.name} was trained with "
                f"{width} of the encoder {self.encoder!r}; embed the faces with that encoder"
            )
        return self.method.swap(source, target)


def export_model(method: Method, folder: Path, metadata: dict[str, Any] | None = None) -> None:
    """Write the averaged weights of a method to `folder` (whole or absent; replaces what was there)."""
    head, encoder = method.head, method.encoder
    weights = {name: value.detach().cpu().contiguous() for name, value in method.ema.state_dict().items()}
    config = {
        "format": FORMAT,
        "recipe": method.recipe.as_dict(),
        "recipe_digest": method.recipe.digest,
        "size_px": method.size_px,
        "head": {"edition": head.edition, "digest": head.digest},
        "encoder": {
            "name": encoder.name,
            "source": method.recipe.identity.encoder,
            "dim": encoder.dim,
            "digest": getattr(encoder, "digest", ""),
        },
        "parameters": sum(parameter.numel() for parameter in method.ema.parameters()),
        "metadata": metadata or {},
    }
    with atomic_folder(folder, {"kind": "swapper", "recipe": method.recipe.name}) as scratch:
        save_file(weights, scratch / "model.safetensors", metadata={"format": "pt"})
        text = json.dumps(config, indent=2, sort_keys=True)
        (scratch / "config.json").write_text(text + "\n", encoding="utf-8")


def load_swapper(
    export_dir: str | Path,
    device: torch.device | str = "cpu",
    head: MorphableHead | None = None,
    size_px: int | None = None,
) -> TrainedSwapper:
    """Read and verify (sizes and SHA-256) an export; `head` is loaded by its edition when not given.

    size_px: of the pictures it is to swap, by default those it was trained on; where its trunk serves that size, too
    (training/growing.py), the weights grow or shrink, else a SamaeError says what it was trained on.
    """
    folder = Path(export_dir)
    read_manifest(folder).verify(folder, hashes=True)
    config = read_json(folder / "config.json")
    if config.get("format") != FORMAT:
        raise SamaeError(
            f"{folder} has the export format {config.get('format')}, this version reads {FORMAT}; train anew"
        )
    head = head or load_head(config["head"]["edition"].rsplit("-", 1)[0])
    require_same_edition(head, config["head"]["edition"], config["head"]["digest"], str(folder))
    trained = config["recipe"]
    recipe = recipe_at(trained, config["size_px"] if size_px is None else size_px)
    method = _method(config | {"recipe": recipe}, head, torch.device(device))
    _load_weights(method, folder / "model.safetensors", trained["generator"]["patch_px"])
    metadata = config["metadata"] | {
        "embedding_dim": config["encoder"]["dim"],
        "recipe_digest": config["recipe_digest"],
    }
    name = config["recipe"]["name"]
    encoder = config["encoder"]
    source = encoder.get("source", encoder["name"])  # exports before it was kept name their encoder only
    return TrainedSwapper(name, recipe["size_px"], encoder["name"], source, encoder["digest"], metadata, method)


def encoder_of(swapper: TrainedSwapper, device: torch.device | str = "cpu") -> Any:
    """The encoder that a swapper's source embeddings come from, its digest checked."""
    encoder = load_encoder(swapper.encoder_source, device)
    if swapper.encoder_digest and encoder.digest != swapper.encoder_digest:
        raise SamaeError(
            f"{swapper.name} was trained with the encoder {swapper.encoder} {swapper.encoder_digest}, but the one "
            f"found here is {encoder.digest}; restore those weights or train anew"
        )
    return encoder


def _method(config: dict[str, Any], head: MorphableHead, device: torch.device) -> Method:
    tree = config["recipe"]
    bare = tree["losses"] | dict.fromkeys(("perceptual", "identity", "adversarial", "feature_matching"), 0.0)
    recipe = recipe_from_dict(tree | {"losses": bare})
    return build_method(recipe, head, EmbeddingOnly(config["encoder"]["name"], config["encoder"]["dim"]), device)


def _load_weights(method: Method, path: Path, patch_px: int) -> None:
    try:
        weights = resized(load_file(path), patch_px, method.recipe.generator.patch_px)
        method.ema.load_state_dict(weights, strict=True)
    except (SafetensorError, RuntimeError) as error:
        raise SamaeError(f"{path} does not fit its config.json: {str(error).splitlines()[-1].strip()}") from None
    method.generator.load_state_dict(weights)
