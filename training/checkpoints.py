"""Checkpoints that are whole or absent: safetensors and JSON with hashes, renamed into place, newest valid wins.

    <run>/checkpoints/000012800/      the pictures seen, nine digits
        generator.safetensors, ...    one file a group of tensors
        state.json                    what the loop must know
        manifest.json                 the COMPLETE marker, written last: bytes and SHA-256 of the files, samples seen,
                                      rank count, recipe, data and encoder digest

A folder without its manifest, or whose files do not match it, is passed over with a reason and the next older one is
taken. A full disk never costs the last good checkpoint: a new one replaces nothing until it is whole. Nothing here is
ever unpickled.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from faces.errors import SamaeError
from faces.files import atomic_folder, no_space, read_json, read_manifest, write_json

#: name of a group -> tensors by name.
Groups = Mapping[str, Mapping[str, torch.Tensor]]


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds: groups of CPU tensors, and JSON values."""

    samples_seen: int
    groups: dict[str, dict[str, torch.Tensor]]
    state: dict[str, Any]


@dataclass
class CheckpointStore:
    """The checkpoints of a run folder. `passed_over` says why `newest` did not take a newer one."""

    folder: Path
    keep: int = 3
    passed_over: list[str] = field(default_factory=list)

    def path(self, samples_seen: int) -> Path:
        """The folder of the checkpoint after so many pictures."""
        return self.folder / f"{samples_seen:09d}"

    def save(self, samples_seen: int, groups: Groups, state: dict[str, Any], metadata: dict[str, Any]) -> Path:
        """Write one checkpoint, whole or not at all, then remove all but the newest `keep`.

        Args:
            samples_seen: pictures shown so far over all ranks; names the folder.
            groups: {"generator": state_dict, ...}.  state: JSON values the loop needs.
            metadata: goes into the manifest (rank count, recipe digest, data digest).

        Raises:
            SamaeError: the disk is full; the checkpoints there stay as they are.
        """
        path = self.path(samples_seen)
        try:
            with atomic_folder(path, {**metadata, "samples_seen": samples_seen}) as scratch:
                for name, tensors in groups.items():
                    (scratch / f"{name}.safetensors").write_bytes(save(_plain(tensors)))
                write_json(scratch / "state.json", state)
        except (OSError, SamaeError) as error:
            raise self._full(error) from error
        self._prune()
        return path

    def newest(
        self, *, recipe_digest: str | None = None, data_digest: str | None = None, encoder_digest: str | None = None
    ) -> int | None:
        """Pictures seen of the newest checkpoint that verifies (hashes included), or None when there is none.

        Raises SamaeError when that one belongs to another recipe, other data or another encoder: a run folder is one
        experiment. Checkpoints from before the encoder was noted pass for today's.
        """
        wanted = {"recipe_digest": recipe_digest, "data_digest": data_digest, "encoder_digest": encoder_digest}
        self.passed_over.clear()
        for path in reversed(self._folders()):
            try:
                manifest = read_manifest(path)
                manifest.verify(path, hashes=True)
                read_json(path / "state.json")
            except SamaeError as error:
                self.passed_over.append(str(error))
                continue
            for name, digest in wanted.items():
                found = manifest.metadata.get(name)
                if digest is None or found == digest or (name == "encoder_digest" and found is None):
                    continue
                raise SamaeError(
                    f"{path} was made with {name} {found}, this run has {digest}: give the new settings a new run "
                    "folder, or go back to the settings, shards and encoder of this one"
                )
            return int(path.name)
        return None

    def load(self, samples_seen: int) -> Checkpoint:
        """Read the checkpoint that `newest` named."""
        path = self.path(samples_seen)
        try:
            groups = {file.stem: load_file(file) for file in sorted(path.glob("*.safetensors"))}
        except (SafetensorError, OSError) as error:
            raise SamaeError(
                f"{path} cannot be read ({error}); remove it and start again from the one before"
            ) from None
        return Checkpoint(samples_seen, groups, read_json(path / "state.json"))

    def clean(self) -> None:
        """Remove what a killed process left half-written. Call it on one rank, before the first save."""
        for path in self.folder.glob(".*.tmp"):
            shutil.rmtree(path, ignore_errors=True)

    def _folders(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted((p for p in self.folder.iterdir() if p.is_dir() and p.name.isdigit()), key=lambda p: int(p.name))

    def _prune(self) -> None:
        for path in self._folders()[: -max(2, self.keep)]:
            shutil.rmtree(path, ignore_errors=True)

    def _full(self, error: BaseException) -> Exception:
        if no_space(error):
            kept = self._folders()
            what = f"the last good checkpoint, {kept[-1]}, is kept" if kept else "there is no earlier checkpoint"
            return SamaeError(f"the disk that holds {self.folder} is full: {what}; free some space and start again")
        return error if isinstance(error, Exception) else SamaeError(f"{self.folder} could not be written")


def _plain(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """CPU tensors that share no memory and are contiguous, as safetensors wants them."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def load_strictly(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor], what: str) -> None:
    """load_state_dict, where any missing, superfluous or misshapen tensor is one sentence naming the first few."""
    wanted = module.state_dict()
    missing, extra = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    shapes = sorted(name for name in wanted.keys() & tensors.keys() if wanted[name].shape != tensors[name].shape)
    if missing or extra or shapes:
        raise SamaeError(
            f"the weights do not fit the {what}: missing {missing[:3]}, unknown {extra[:3]}, of another shape "
            f"{shapes[:3]}; they belong to another recipe"
        )
    module.load_state_dict(dict(tensors))
