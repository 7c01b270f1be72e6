"""Which encoders there are, where their weights are looked for, and under which terms."""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from faces.errors import SamaeError
from faces.files import sha256_file
from faces.identity.encoder import Encoder, read_encoder

WEIGHTS_VARIABLE = "SAMAE_WEIGHTS"
SHIPPED = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class KnownEncoder:
    """One named encoder: `files` are tried in order below `search_folders`; a `judge_only` one never trains a model."""

    name: str
    files: tuple[str, ...]
    licence: str
    origin: str
    judge_only: bool = False


KNOWN_ENCODERS: dict[str, KnownEncoder] = {
    known.name: known
    for known in (
        KnownEncoder("builtin", ("builtin.safetensors",), "Apache-2.0", "shipped; trained on generated people"),
        KnownEncoder(
            "blendface",
            ("blendface.safetensors.xz", "blendface.safetensors"),
            "Apache-2.0",
            "shipped; builtin trained on with blended faces (samae train --recipe blendface-from-builtin)",
        ),
        KnownEncoder("judge-1", ("judge-1.safetensors",), "Apache-2.0", "shipped; CosFace, other people", True),
        KnownEncoder("judge-2", ("judge-2.safetensors",), "Apache-2.0", "shipped; deeper, yet other people", True),
        KnownEncoder("judge-3", ("judge-3.safetensors",), "Apache-2.0", "shipped; 48 px, third set of people", True),
        KnownEncoder(
            "arcface",
            ("w600k_r50.onnx", "buffalo_l/w600k_r50.onnx", "models/buffalo_l/w600k_r50.onnx"),
            "non-commercial research (InsightFace)",
            "InsightFace's model pack buffalo_l",
        ),
        KnownEncoder(
            "glint360k",
            ("glintr100.onnx", "antelopev2/glintr100.onnx", "models/antelopev2/glintr100.onnx"),
            "non-commercial research (InsightFace)",
            "InsightFace's model pack antelopev2",
            True,
        ),
    )
}


def refuse_judge(encoder: str, recipe: str, digest: str | None = None) -> None:
    """SamaeError where a recipe wants to train with an encoder that is kept for judging.

    encoder: its name or path.  digest: of its weights, where they are loaded; then a judge under another name is
    known, too, as far as the judge's own file is on this machine. A file that is named as a judge's is one anyway.
    """
    judges = [known for known in KNOWN_ENCODERS.values() if known.judge_only]
    named = {Path(name).stem: one for one in judges for name in (one.name, *one.files)}
    known = named.get(Path(encoder).stem) or (judge_of(digest) if digest else None)
    if known is not None:
        also = "" if encoder == known.name else f" (the weights of {known.name})"
        raise SamaeError(
            f"recipe {recipe!r} trains with the encoder {encoder!r}{also}, which only judges; "
            "choose builtin, arcface or an encoder of your own, else the judgement means nothing"
        )


def judge_of(digest: str) -> KnownEncoder | None:
    """The judge whose weights on this machine have this digest (16 hexadecimal digits), or None."""
    judges = (known for known in KNOWN_ENCODERS.values() if known.judge_only)
    files = ((known, find_weights(known)) for known in judges)
    return next((known for known, path in files if path is not None and sha256_file(path)[:16] == digest), None)


def search_folders() -> list[Path]:
    """Where weights are looked for: $SAMAE_WEIGHTS, InsightFace's own folder, and what the project ships."""
    named = os.environ.get(WEIGHTS_VARIABLE)
    return ([Path(named).expanduser()] if named else []) + [Path.home() / ".insightface", SHIPPED]


def find_weights(known: KnownEncoder) -> Path | None:
    """The first file of that encoder that exists, or None."""
    for folder in search_folders():
        for name in known.files:
            if (folder / name).is_file():
                return folder / name
    return None


def encoder_status() -> list[dict[str, str]]:
    """One row an encoder for `samae doctor`: name, path (empty when missing), licence, origin."""
    return [
        {"name": known.name, "path": str(find_weights(known) or ""), "licence": known.licence, "origin": known.origin}
        for known in KNOWN_ENCODERS.values()
    ]


def load_encoder(name_or_path: str = "builtin", device: torch.device | str = "cpu") -> Encoder:
    """The encoder of that name, or of a .safetensors (or .safetensors.xz) or .onnx file. Loaded once a process.

    Raises:
        SamaeError: unknown name, or weights that are missing (the sentence says where they are looked for).
    """
    return _load(name_or_path, str(device))


@lru_cache(maxsize=8)
def _load(name_or_path: str, device: str) -> Encoder:
    known = KNOWN_ENCODERS.get(name_or_path)
    if known is None:
        path = Path(name_or_path)
        if path.suffix not in {".onnx", ".safetensors", ".xz"}:
            raise SamaeError(
                f"no identity encoder is called {name_or_path!r}: use one of {sorted(KNOWN_ENCODERS)} "
                "or the path of a .safetensors, .safetensors.xz or .onnx file"
            )
        if not path.is_file():
            raise SamaeError(f"the encoder file {path} does not exist")
        return _read(path, path.stem, "as its file says", device)
    found = find_weights(known)
    if found is None:
        folders = ", ".join(str(folder) for folder in search_folders()[:-1])
        raise SamaeError(
            f"the weights of {known.name} are missing: put {known.files[0]} ({known.origin}; {known.licence}) "
            f"into {folders} or a folder named by SAMAE_WEIGHTS"
        )
    return _read(found, known.name, known.licence, device)


def _read(path: Path, name: str, licence: str, device: str) -> Encoder:
    if path.suffix == ".onnx":
        from faces.identity.onnx_encoder import OnnxEncoder

        return OnnxEncoder(path, name, licence)
    return read_encoder(path, name, device)
