"""The networks of others that some metrics need and nobody may ship: which of them the user has, named by SHA-256.

What travels to workers is the files' names and digests, not their weights: every process reads a network once, and
refuses a file that is not the one the judge began with. Workers on other hosts need the files at the same paths.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from faces.errors import SamaeError
from training.networks import alexnet, inception, lpips, vgg
from training.networks.weight_files import file_digest, find_file, is_as_published


@dataclass(frozen=True)
class NetworkFiles:
    """One network: its files and their SHA-256 (64 hexadecimal digits), in the order that its loader takes."""

    name: str
    paths: tuple[str, ...]
    digests: tuple[str, ...]

    @property
    def published(self) -> bool | None:
        """True when every file is the published one by its digest, False when one is not, None when nobody can say."""
        answers = [is_published(Path(p), d) for p, d in zip(self.paths, self.digests, strict=True)]
        return False if False in answers else None if None in answers else True

    def load(self) -> Any:
        """The frozen network, read once a process; SamaeError when a file changed or does not fit."""
        return _load(self)


@dataclass(frozen=True)
class Known:
    """A network that metrics can use. needs: one tuple of file names a file; gives: what it is for, in words."""

    name: str
    needs: tuple[tuple[str, ...], ...]
    gives: str


KNOWN: tuple[Known, ...] = (
    Known("lpips-alex", (alexnet.FILES, lpips.HEAD_FILES["alex"]), "LPIPS (AlexNet)"),
    Known("lpips-vgg", (vgg.FILES, lpips.HEAD_FILES["vgg"]), "LPIPS (VGG-16)"),
    Known("vgg16", (vgg.FILES,), "distance of VGG-16 features"),
    Known("inception", (inception.FILES,), "FID and KID"),
)


@dataclass(frozen=True)
class JudgeNetworks:
    """The networks that a judge uses; none by default."""

    found: tuple[NetworkFiles, ...] = ()

    def __getitem__(self, name: str) -> NetworkFiles | None:
        return next((files for files in self.found if files.name == name), None)

    @property
    def digests(self) -> dict[str, list[str]]:
        """Name -> SHA-256 of its files: part of the judge's digest."""
        return {files.name: list(files.digests) for files in self.found}

    def provenance(self) -> dict[str, dict[str, Any]]:
        """Name -> file names, digests and whether they are the published ones, for pages and records."""
        return {
            f.name: {"files": [Path(p).name for p in f.paths], "sha256": list(f.digests), "published": f.published}
            for f in self.found
        }


NONE = JudgeNetworks()
NAMES = tuple(each.name for each in KNOWN)


def find_networks(names: Sequence[str] = NAMES) -> JudgeNetworks:
    """Those of the known networks whose files lie in the folders where weights are looked for."""
    found = []
    for known in KNOWN:
        paths = [find_file(files) for files in known.needs]
        if known.name in names and all(paths):
            sure = [path.absolute() for path in paths if path is not None]
            found.append(NetworkFiles(known.name, tuple(map(str, sure)), tuple(file_digest(path) for path in sure)))
    return JudgeNetworks(tuple(found))


def absent(provenance: dict[str, Any]) -> list[str]:
    """What a judgement with these networks could not measure: "LPIPS (AlexNet): put alexnet-owt-7be5be79.pth and …"."""
    return [
        f"{known.gives}: put {' and '.join(files[-1] for files in known.needs)} into a folder named by SAMAE_WEIGHTS"
        for known in KNOWN
        if known.name not in provenance
    ]


def is_published(path: Path, digest: str) -> bool | None:
    """Whether a file is the published one; None when neither its name nor a list of ours can say."""
    for heads in lpips.HEAD_FILES.values():
        if path.name in heads and path.suffix == ".pth":
            return digest.startswith(tuple(lpips.HEAD_DIGESTS.values()))
    return is_as_published(path, digest)


@lru_cache(maxsize=8)
def _load(files: NetworkFiles) -> Any:
    paths = [Path(path) for path in files.paths]
    for path, digest in zip(paths, files.digests, strict=True):
        if not path.is_file():
            raise SamaeError(f"{path} is not on this host: put the weights at the same path on every host that judges")
        if file_digest(path) != digest:
            raise SamaeError(f"{path} is not the file that the judge began with: evaluate again")
    if files.name == "inception":
        return inception.load_inception(paths[0])
    if files.name == "vgg16":
        return vgg.load_vgg(paths[0])
    return lpips.load_lpips("alex" if files.name == "lpips-alex" else "vgg", *paths)
