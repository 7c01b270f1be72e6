"""`samae doctor --deep`: every component does its work once, small and for real, in a scratch folder that is removed.

Four generated faces go the way of every face (fit, mask, albedo, embedding, shard, training, swap, judge); Ray, MLflow
and Dagster are started beside them. A part that failed says what to mend; what needs it fails with the same sentence.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from faces.errors import SamaeError

#: Width of photographs, and of shards where the shipped weights shrink to the size of recipe `samae`, px.
PHOTO_PX, PICTURE_PX = 128, 64
FACES, PEOPLE, SEED = 4, 2, 7
WEIGHTS = "samae-people"
#: A fit of a generated face that is further from its landmarks than this is broken (usual: under 2), percent.
WORST_NME_PERCENT = 5.0
#: The same for landmarks that are read off a picture, as a share of its width (usual: under 0.015).
WORST_READING = 0.05
MOST_SECONDS = 300.0
SETUP = "run `make setup` again"


@dataclass(frozen=True)
class Outcome:
    """One component: its name, "" or what went wrong, what to do about it, and the seconds it took."""

    name: str
    error: str
    mend: str
    seconds: float

    @property
    def line(self) -> str:
        """For people."""
        state = f"failed: {self.error}; {self.mend}" if self.error else "ok"
        return f"{self.name:<20} {self.seconds:6.1f} s  {state}"


class SelfTest:
    """The components in the order of a face's way; each method raises where its component does not work."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def head(self) -> Any:
        """The built-in head."""
        from faces.morphable.registry import load_head

        return load_head("builtin")

    @cached_property
    def encoder(self) -> Any:
        """The built-in identity encoder."""
        from faces.identity.registry import load_encoder

        return load_encoder("builtin")

    @cached_property
    def photographs(self) -> list[Any]:
        """Generated faces with their truth."""
        from faces.synthetic.pictures import render_picture

        return [render_picture(SEED, index, PEOPLE, PHOTO_PX) for index in range(FACES)]

    @cached_property
    def images(self) -> np.ndarray:
        """(N, S, S, 3) uint8 sRGB."""
        return np.stack([one.image for one in self.photographs])

    @cached_property
    def landmarks_px(self) -> np.ndarray:
        """(N, 68, 2) float32, px."""
        return np.stack([one.landmarks_px for one in self.photographs])

    @cached_property
    def coefficients(self) -> np.ndarray:
        """(N, D) float32 of the fit."""
        from faces.fitting import fit

        found = fit(self.images, self.landmarks_px, self.head, PHOTO_PX)
        worst = float(np.max(found.landmark_nme_percent))
        _require(bool(np.all(found.ok)) and worst < WORST_NME_PERCENT, f"the fit is {worst:.1f} % off its landmarks")
        return np.asarray(found.coefficients, np.float32)

    @cached_property
    def visible(self) -> np.ndarray:
        """(N, S, S) uint8 masks of the visible faces."""
        from faces.masks import face_mask

        masks = face_mask(self.images, self.coefficients, self.head)
        share = (masks > 127).mean(axis=(1, 2))
        _require(bool(np.all((share > 0.05) & (share < 0.6))), "the masks show no faces")
        return masks

    @cached_property
    def embeddings(self) -> np.ndarray:
        """(N, M) float32, unit length."""
        found = np.asarray(self.encoder.embed(self.images, self.landmarks_px), np.float32)
        _require(np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-3), "embeddings are not of unit length")
        return found

    @cached_property
    def shards(self) -> Path:
        """A folder of one shard with every face, its index written and verified."""
        from assets.shards import write_tar
        from training.shards import write_index

        folder = self.folder / "shards"
        folder.mkdir()
        write_tar(folder / "00000.tar", self._samples())
        splits = {f"{index:05d}": "train" for index in range(FACES)}
        head = {"edition": self.head.edition, "digest": self.head.digest}
        encoder = {"name": self.encoder.name, "digest": self.encoder.digest}
        write_index(folder, size_px=PICTURE_PX, head=head, encoder=encoder, splits=splits).close()
        return folder

    def _samples(self) -> Iterator[dict[str, Any]]:
        from assets.aligned import resize
        from faces.albedo import neutral_albedo, skin_colour

        masks = self.visible
        albedo = neutral_albedo(self.images, self.coefficients, self.head)
        skin = np.asarray(skin_colour(self.images, self.coefficients, masks, self.head), np.float32)
        for index in range(FACES):
            yield {
                "image": resize(self.images[index], PICTURE_PX),
                "albedo": resize(albedo[index], PICTURE_PX),
                "mask": resize(masks[index], PICTURE_PX),
                "coefficients": self.coefficients[index],
                "embedding": self.embeddings[index],
                "skin": skin[index],
                "landmarks": (self.landmarks_px[index] * (PICTURE_PX / PHOTO_PX)).astype(np.float32),
                "meta": {"key": f"{index:05d}", "person": index % PEOPLE, "licence": "CC0", "source": "self-test"},
            }

    @cached_property
    def swapper(self) -> Any:
        """The shipped weights."""
        from training.export import load_swapper
        from training.weights import find_weights

        return load_swapper(find_weights(WEIGHTS).folder, head=self.head, size_px=PICTURE_PX)

    def head_decode(self) -> None:
        """Coefficients -> vertices."""
        layout = self.head.layout.slices
        zeros = {name: np.zeros((1, part.stop - part.start), np.float32) for name, part in layout.items()}
        points = self.head.vertices(zeros["identity"], zeros["expression"])
        _require(points.shape[-1] == 3 and bool(np.isfinite(np.asarray(points)).all()), "vertices are not numbers")

    def rasteriser(self) -> None:
        """Draw the true mesh of one face."""
        from faces.render.mesh_image import render_mesh

        face = self.photographs[0]
        share = float(render_mesh(self.head, face.coefficients[None], face.camera).mask.mean())
        _require(0.05 < share < 0.9, f"the drawn face covers {share:.0%} of its picture")

    def generated_faces(self) -> None:
        """Render people."""
        _require(self.images.std() > 5, "the generated pictures are empty")

    def fit(self) -> None:
        """Photographs -> coefficients."""
        _require(bool(np.isfinite(self.coefficients).all()), "coefficients are not numbers")

    def plain_photograph(self) -> None:
        """A face is found and read without its landmarks, by whoever reads them here."""
        from faces.detection import load_detector

        found = load_detector().faces(self.images[0])
        _require(bool(found), "no face was found in a generated photograph")
        error_px = float(np.linalg.norm(found[0] - self.landmarks_px[0], axis=1).mean())
        _require(error_px < WORST_READING * PHOTO_PX, f"landmarks are read {error_px:.1f} px off")

    def masks(self) -> None:
        """Photographs and coefficients -> visible faces; all weights of the network that sees what covers them."""
        from faces.occluders import NETWORKS
        from faces.readers.cover import load_cover

        for weights in NETWORKS.values():
            load_cover(weights)
        _require(self.visible.dtype == np.uint8, "masks are not bytes")

    def identity_encoder(self) -> None:
        """Photographs -> embeddings."""
        _require(bool(np.isfinite(self.embeddings).all()), "embeddings are not numbers")

    def shard(self) -> None:
        """Write a shard, and read every face back."""
        from training.shards import ShardSet

        found = ShardSet.open(self.shards)
        try:
            read = np.stack([found.read(key)["coefficients"] for key in found.keys()])  # noqa: SIM118 (no dictionary)
        finally:
            found.close()
        _require(np.array_equal(read, self.coefficients), "a shard gives back other coefficients than were written")

    def training_step(self) -> None:
        """One update of the shipped weights by DeepSpeed, in a process of its own as always."""
        settings = [
            f"size_px={PICTURE_PX}",
            "train.batch_size=2",
            "train.total_kimg=0.002",
            f"train.init_from={WEIGHTS}",
        ]
        command = [sys.executable, "-m", "training.train", "--recipe", "samae", "--device", "cpu"]
        command += ["--shards", str(self.shards), "--run-dir", str(self.folder / "run")]
        command += [word for setting in settings for word in ("--set", setting)]
        bare = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
        done = subprocess.run(command, env=bare, capture_output=True, text=True, timeout=MOST_SECONDS, check=False)
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        _require(done.returncode == 0 and (self.folder / "run" / "export" / "config.json").is_file(), last)

    def swap(self) -> None:
        """One face into another's picture."""
        faces = self.faces(["00000", "00001"])
        made = self.swapper.swap(faces.select([0]), faces.select([1])).image
        changed = float((made - faces.select([1]).image).abs().mean())
        _require(bool(made.isfinite().all()) and changed > 1e-3, "the swap changed nothing")

    def faces(self, keys: Any) -> Any:
        """Keys -> FaceBatch."""
        from assets.judging import load_faces_of

        return load_faces_of(self.shards, keys)

    def judge(self) -> None:
        """Judge one pair by the first judge."""
        from evaluation.judge import judge
        from evaluation.pairs import PairList
        from faces.identity.registry import load_encoder

        pairs = PairList("self-test", "self-test", SEED, "", ("00000",), ("00001",))
        found = judge(
            self.swapper, pairs, self.faces, [load_encoder("judge-1")], head=self.head, baselines=(), measurer=None
        )
        figure = found.summary["identity_similarity"]
        _require(figure["failed"] == 0 and -1 <= figure["mean"] <= 1, "the pair could not be judged")

    def ray(self) -> None:
        """Start a cluster of our own and let it work."""
        from pipelines.ray_pool import RayPool

        pool = RayPool(address="local", cores=1)
        try:
            _require(pool.map(abs, [-1, -2, -3]) == [1, 2, 3], "Ray's answers are wrong")
        finally:
            pool.stop()

    def mlflow(self) -> None:
        """A run, a figure and a model version into a store of SQLite, and back."""
        from pipelines.tracking import MlflowTracking

        home = self.folder / "mlflow"
        tracker = MlflowTracking(uri=f"sqlite:///{home / 'mlflow.db'}", home=str(home))
        run_id = tracker.start("self-test", "self-test", {})
        tracker.finish(run_id, "FINISHED", {"figure": 0.5})
        _require(tracker.client.get_run(run_id).data.metrics == {"figure": 0.5}, "MLflow lost a figure")
        export = self.folder / "export"
        export.mkdir()
        (export / "config.json").write_text("{}")
        version = tracker.register(run_id, export, {}, "# card\n")
        _require(tracker.card(version) == "# card\n", "MLflow lost an artifact")

    def dagster(self) -> None:
        """Load and check every definition."""
        import dagster as dg

        from pipelines.definitions import defs

        dg.Definitions.validate_loadable(defs)


#: Component -> what to do when it fails.
COMPONENTS: dict[str, str] = {
    "head_decode": SETUP,
    "generated_faces": SETUP,
    "rasteriser": f"{SETUP}; numba must be able to compile (a C library and a folder it may write)",
    "fit": SETUP,
    "plain_photograph": f"restore faces/finding/weights (git checkout), {SETUP}, or set SAMAE_LANDMARKS=own",
    "masks": f"restore faces/readers/weights (git checkout), or {SETUP}",
    "identity_encoder": f"restore faces/identity/weights (git checkout), or {SETUP}",
    "shard": "free some disk, or name another temporary folder by TMPDIR",
    "training_step": f"{SETUP}; see docs/training.md",
    "swap": f"restore training/weights (git checkout), or {SETUP}",
    "judge": f"restore faces/identity/weights (git checkout), or {SETUP}",
    "ray": "set SAMAE_RAY=serial to work without Ray, name a short TMPDIR, or end what holds its memory",
    "mlflow": f"{SETUP}; a server of your own is named by SAMAE_MLFLOW_URI",
    "dagster": SETUP,
}


def _require(is_good: bool, sentence: str) -> None:
    if not is_good:
        raise SamaeError(sentence)


def outcome_of(name: str, part: Callable[[], None], mend: str) -> Outcome:
    """Run one component; whatever it raises becomes its error in one line."""
    begin = time.perf_counter()
    error = ""
    try:
        part()
    except Exception as raised:  # a self-test tells of every failure and goes on
        words = str(raised).strip().splitlines()
        error = words[0] if isinstance(raised, SamaeError) else f"{type(raised).__name__}: {(words or [''])[0]}"
    return Outcome(name, error, mend, time.perf_counter() - begin)


def self_test(told: Callable[[Outcome], None]) -> list[Outcome]:
    """Run every component; `told` hears of each as it ends."""
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="samae-doctor-") as folder:
        test = SelfTest(Path(folder))
        for name, mend in COMPONENTS.items():
            outcomes.append(outcome_of(name, getattr(test, name), mend))
            told(outcomes[-1])
    return outcomes
