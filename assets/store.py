"""Where every asset lies, what made it, and whether it must be made again.

Each asset (or one partition of it) is one folder with a manifest. The manifest's metadata holds its provenance: code
version, settings, and the digest of every input. An asset is up to date when its folder is whole and its recorded
provenance is what today's code, settings and inputs would give. Nothing here knows Dagster.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faces.errors import SamaeError
from faces.files import Manifest, atomic_folder, digest_of, is_complete, read_manifest, sweep_scratch

WHOLE = "all"


@dataclass(frozen=True)
class Store:
    """The home folder ($SAMAE_HOME) and the name of the set of photographs in use."""

    home: Path
    set_name: str
    raw_folder: Path | None = None

    @property
    def raw(self) -> Path:
        """The folder of photographs in FFHQ layout: the user's own, or the one we generate."""
        return self.raw_folder if self.raw_folder is not None else self.home / "raw" / self.set_name

    @property
    def runs(self) -> Path:
        """One folder a training run."""
        return self.home / "runs"

    def folder(self, asset: str, partition: str | None = None) -> Path:
        """Where an asset, or one partition of it, lies."""
        if asset == "training_shards":
            return self.home / "shards" / self.set_name
        if asset == "leaderboard":
            return self.home / "reports" / "leaderboard"
        return self.home / "assets" / asset / (partition or WHOLE)

    def manifest(self, asset: str, partition: str | None = None) -> Manifest:
        """The manifest of an asset; when there is none, one sentence that says what makes it."""
        folder = self.folder(asset, partition)
        if not is_complete(folder):
            name = f"{asset} [{partition}]" if partition else asset
            raise SamaeError(f"{name} has not been made yet ({folder} is missing or unfinished): run `samae demo`")
        return read_manifest(folder)

    def digest(self, asset: str, partition: str | None = None) -> str:
        """Data version of an asset: the digest of its files' names and contents. What made them is left out, so that
        making the same bytes again leaves everything below up to date."""
        return digest_of(self.manifest(asset, partition).files)

    def metadata(self, asset: str, partition: str | None = None) -> dict[str, Any]:
        """The manifest's free-form metadata."""
        return self.manifest(asset, partition).metadata

    def is_current(self, asset: str, partition: str | None, provenance: dict[str, Any]) -> bool:
        """True when the folder is whole and was made from exactly this provenance."""
        folder = self.folder(asset, partition)
        return is_complete(folder) and read_manifest(folder).metadata.get("provenance") == provenance

    @contextlib.contextmanager
    def write(
        self, asset: str, partition: str | None, provenance: dict[str, Any]
    ) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield (scratch folder, metadata to fill); the asset's folder is replaced when the block ends well.

        What killed runs left beside it is removed first.
        """
        sweep_scratch(self.folder(asset, partition).parent)
        metadata: dict[str, Any] = {"provenance": provenance}
        with atomic_folder(self.folder(asset, partition), metadata) as scratch:
            yield scratch, metadata
