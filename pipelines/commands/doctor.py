"""`samae doctor`: what this machine can do, which optional weights are there, and whether the main job can run."""

import json
import os
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from assets.machine import cores, machine
from assets.room import GIB, free_here
from evaluation.networks import is_published
from faces.errors import SamaeError
from faces.morphable.registry import HEAD_FILES
from faces.photographs import LISTING_NAME
from pipelines.selftest import Outcome, outcome_of, self_test
from pipelines.servers import servers
from pipelines.settings import load_settings
from training.networks import alexnet, efficientnet, inception, lpips, vgg
from training.networks.weight_files import file_digest

PACKAGES = ("torch", "numba", "numpy", "dagster", "ray", "deepspeed", "mlflow", "webdataset", "pyarrow", "insightface")
#: The main job on the embedded default needs this much (ours, measured with room to spare).
NEEDED_MEMORY_GIB = 4.0
NEEDED_DISK_GIB = 2.0


@dataclass(frozen=True)
class OptionalWeights:
    """A file that makes more possible and that we may not ship. `files` are looked for below the weights folders."""

    name: str
    files: tuple[str, ...]
    gives: str
    where: str
    licence: str


OPTIONAL: tuple[OptionalWeights, ...] = (
    OptionalWeights(
        "ArcFace w600k_r50",
        ("w600k_r50.onnx", "models/buffalo_l/w600k_r50.onnx"),
        "identity of real people",
        "InsightFace's model pack buffalo_l",
        "non-commercial research",
    ),
    OptionalWeights(
        "InsightFace detector",
        ("models/buffalo_l/1k3d68.onnx", "buffalo_l/1k3d68.onnx", "1k3d68.onnx"),
        "landmarks of plain photographs in place of our own (with det_10g.onnx beside it)",
        "InsightFace's model pack buffalo_l",
        "non-commercial research",
    ),
    *(
        OptionalWeights(head.title, head.files, f"the head '{name}' (SAMAE_HEAD={name})", head.where, head.licence)
        for name, head in HEAD_FILES.items()
    ),
    OptionalWeights(
        "VGG16",
        vgg.FILES[::-1],
        "perceptual loss, LPIPS (VGG-16) with its heads, distance of VGG features to the truth",
        "download.pytorch.org",
        "BSD-3-Clause",
    ),
    OptionalWeights(
        "AlexNet",
        alexnet.FILES[::-1],
        "LPIPS (AlexNet) with its heads",
        "download.pytorch.org",
        "BSD-3-Clause",
    ),
    *(
        OptionalWeights(
            f"LPIPS heads ({trunk})",
            files[::-1],
            f"LPIPS, with {'AlexNet' if trunk == 'alex' else 'VGG16'}",
            f"weights/v0.1/{trunk}.pth of the package lpips 0.1.4",
            "BSD-2-Clause",
        )
        for trunk, files in lpips.HEAD_FILES.items()
    ),
    OptionalWeights(
        "Inception v3 (FID)",
        inception.FILES[::-1],
        "FID and KID",
        "github.com/mseitzer/pytorch-fid, releases",
        "Apache-2.0",
    ),
    OptionalWeights(
        "EfficientNet-lite0",
        efficientnet.FILES[::-1],
        "the projected discriminator of the recipe simswap-script",
        "github.com/huggingface/pytorch-image-models, release v0.1-weights",
        "Apache-2.0",
    ),
)


def run(as_json: bool, deep: bool = False) -> None:
    """Print what was found, and with `deep` how every component works; exit code 2 when the main job cannot run."""
    found = examine()
    if not as_json:
        print(in_words(found))
    if deep:
        found["components"] = [asdict(outcome) for outcome in work(as_json)]
    if as_json:
        print(json.dumps(found, indent=2))
    if found["problems"] or any(part["error"] for part in found.get("components", ())):
        sys.exit(2)


def work(quietly: bool) -> list[Outcome]:
    """Let every component work once, and ask the servers that are named; each line is printed as it ends, unless
    `quietly`."""
    from pipelines.commands.demo import quieten

    quieten()
    if not quietly:
        print("\nself-test of every component:")

    def told(outcome: Outcome) -> None:
        """Print the line of one component, for people."""
        if not quietly:
            print(f"  {outcome.line}", flush=True)

    outcomes = self_test(told)
    for name, (question, mend) in servers(load_settings()).items():
        outcomes.append(outcome_of(name, question, mend))
        told(outcomes[-1])
    return outcomes


def examine() -> dict[str, Any]:
    """Everything the command tells, as JSON values. `problems` is empty when the main job can run."""
    settings = load_settings()
    problems: list[str] = []
    versions = {name: _version(name, problems) for name in PACKAGES}
    free = free_here(settings.home)
    memory_gib, disk_gib = free.memory_bytes / GIB, free.disk_bytes / GIB
    if memory_gib < NEEDED_MEMORY_GIB:
        problems.append(
            f"{memory_gib:.1f} GiB of memory are free, the main job needs {NEEDED_MEMORY_GIB:g}: end something"
        )
    if disk_gib < NEEDED_DISK_GIB:
        problems.append(
            f"{disk_gib:.1f} GiB of disk are free at {settings.home}, {NEEDED_DISK_GIB:g} are needed: set SAMAE_HOME"
        )
    if settings.raw is not None and not (settings.raw / LISTING_NAME).is_file():
        problems.append(
            f"SAMAE_RAW={settings.raw} holds no {LISTING_NAME}: name a folder in FFHQ layout, "
            f"or make one by `samae ingest {settings.raw} SET`"
        )
    return {
        "machine": machine(),
        "cores": cores(),
        "python": sys.version.split()[0],
        "memory_free_gib": round(memory_gib, 1),
        "disk_free_gib": round(disk_gib, 1),
        "home": str(settings.home),
        "gpus": _gpus(),
        "rasteriser_backends": _rasterisers(problems),
        "encoders": _encoders(problems, settings.encoder, settings.judges),
        "landmarks": _landmarks(problems),
        "versions": versions,
        "optional_weights": [_status(weights) for weights in OPTIONAL],
        "problems": problems,
    }


def _version(name: str, problems: list[str]) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        problems.append(f"the package {name} is missing: run `make setup`")
        return "missing"


def _gpus() -> list[str]:
    import torch

    if not torch.cuda.is_available():
        return []
    kinds = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return [f"{kind.name}, {kind.total_memory / 2**30:.0f} GiB" for kind in kinds]


def _rasterisers(problems: list[str]) -> dict[str, str]:
    """Backend -> "ready", or why it cannot be used here."""
    from faces.render.rasterize import available_backends

    backends = dict(available_backends())
    if "ready" not in backends.values():
        problems.append("no rasteriser works here: numba is missing, run `make setup`")
    return backends


def _encoders(problems: list[str], *wanted: Any) -> list[dict[str, str]]:
    from faces.identity.registry import encoder_status, load_encoder

    for name in (wanted[0], *wanted[1]):
        try:
            load_encoder(name)
        except SamaeError as error:
            problems.append(str(error))
    return encoder_status()


def _landmarks(problems: list[str]) -> str:
    """Who reads landmarks of plain photographs here."""
    from faces.detection import ABOUT, landmark_reader, load_detector

    try:
        load_detector()
        return ABOUT[landmark_reader()]
    except SamaeError as error:
        problems.append(str(error))
        return "nobody"


def weight_folders() -> list[Path]:
    """Where optional weights are looked for: the registry's folders and SAMAE_WEIGHTS."""
    named = os.environ.get("SAMAE_WEIGHTS")
    return ([Path(named).expanduser()] if named else []) + [Path.home() / ".insightface"]


def _status(weights: OptionalWeights) -> dict[str, str]:
    paths = [folder / name for folder in weight_folders() for name in weights.files]
    found = next((str(path) for path in paths if path.exists()), "")
    told = {k: v for k, v in asdict(weights).items() if k != "files"} | {"file": weights.files[0], "found": found}
    return told | {"doubt": _doubt(Path(found)) if found else ""}


def _doubt(path: Path) -> str:
    """A few words when a file's name says another SHA-256 than it has."""
    digest = file_digest(path) if path.is_file() and path.suffix == ".pth" else ""
    changed = bool(digest) and is_published(path, digest) is False
    return f", but it is not the published file: its SHA-256 begins with {digest[:8]}" if changed else ""


def in_words(found: dict[str, Any]) -> str:
    """The same for people."""
    lines = [
        f"machine      {found['machine']}",
        f"free         {found['memory_free_gib']} GiB memory, {found['disk_free_gib']} GiB disk at {found['home']}",
        f"GPUs         {', '.join(found['gpus']) or 'none; everything runs on the processor'}",
        "rasteriser   " + "; ".join(f"{name}: {state}" for name, state in found["rasteriser_backends"].items()),
        f"python       {found['python']}; " + ", ".join(f"{k} {v}" for k, v in found["versions"].items()),
        "encoders     " + ", ".join(f"{e['name']} ({'found' if e['path'] else 'missing'})" for e in found["encoders"]),
        f"landmarks    of plain photographs are read by {found['landmarks']}",
        "",
        f"optional weights (looked for in {', '.join(map(str, weight_folders()))}; add a folder by SAMAE_WEIGHTS):",
    ]
    for weights in found["optional_weights"]:
        state = (
            f"found at {weights['found']}{weights['doubt']}"
            if weights["found"]
            else f"missing; {weights['file']} from {weights['where']}"
        )
        lines.append(f"  {weights['name']:<22} {weights['gives']}: {state} ({weights['licence']})")
    lines.append("")
    lines += [f"problem: {problem}" for problem in found["problems"]] or ["The main job can run: samae demo"]
    return "\n".join(lines)
