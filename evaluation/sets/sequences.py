"""Generated sequences: somebody's still onto every frame of somebody else's track, with the true swap of every frame.

faces/synthetic/video.py draws them. People are of ids that no set of photographs uses, whatever its size.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

from evaluation.pairs import PairList
from evaluation.sets.base import Shot, first_pairs
from faces.errors import SamaeError
from faces.files import digest_of
from faces.synthetic.dataset import GENERATOR
from faces.synthetic.person import person_from_seed
from faces.synthetic.portrait import render_person, render_swaps
from faces.synthetic.scene import scene_from_seed
from faces.synthetic.video import track

#: Person ids from here on belong to sequences: two a sequence.
PEOPLE_FROM = 7_000_000
FRAMES = 16


@dataclass(frozen=True)
class GeneratedSequences:
    """`count` sequences of `frames` frames at `fps`, drawn at `photo_px`. Keys: "0003/source", "0003/00015"."""

    seed: int
    count: int
    photo_px: int
    frames: int = FRAMES
    fps: float = 25.0
    protocol: ClassVar[str] = "video"
    has_truth: ClassVar[bool] = True
    landmarks_digest: ClassVar[str] = ""

    @property
    def pairs_a_chunk(self) -> int:
        """One sequence: the metrics of video look at neighbouring frames."""
        return self.frames

    def pairs(self, count: int | None = None) -> PairList:
        """Every frame of every sequence, in order; `count` is rounded down to whole sequences."""
        names = [f"{number:04d}" for number in range(self.count)]
        targets = tuple(f"{name}/{frame:05d}" for name in names for frame in range(self.frames))
        sources = tuple(f"{key.partition('/')[0]}/source" for key in targets)
        digest = digest_of({"generator": GENERATOR, **asdict(self)})
        listed = PairList("video", self.protocol, self.seed, digest, sources, targets)
        return listed if count is None else first_pairs(listed, max(count // self.frames, 1) * self.frames)

    def groups(self, keys: Sequence[str]) -> list[tuple[str, ...]]:
        """Key by key: frames are drawn one by one."""
        return [(key,) for key in keys]

    def shots(self, keys: tuple[str, ...]) -> list[Shot | str]:
        """Draw them, with the true swap of frames."""
        return [self._shot(*key.split("/")) for key in keys]

    def person(self, key: str) -> int:
        """Id in the population of the seed."""
        name, what = key.split("/")
        return PEOPLE_FROM + 2 * int(name) + (what != "source")

    def _shot(self, name: str, what: str) -> Shot:
        source = person_from_seed(self.seed, self.person(f"{name}/source"))
        if what == "source":
            still = render_person(source, scene_from_seed(self.seed, PEOPLE_FROM + int(name), source), self.photo_px)
            return Shot(still.image, still.landmarks_px, is_crop=True)
        owner = person_from_seed(self.seed, self.person(f"{name}/{what}"))
        scenes = track(self.seed, int(what) + 1, owner, self.fps)
        plain, swaps = render_swaps(owner, source, scenes[-1], self.photo_px, ("face",))
        return Shot(plain.image, plain.landmarks_px, is_crop=True, truth=swaps["face"])


def sequences_for(seed: int, pairs: int, photo_px: int) -> GeneratedSequences:
    """As many whole sequences as `pairs` frames make, two at least."""
    if pairs < 1:
        raise SamaeError(f"{pairs} pairs are none; ask for 1 at least")
    return GeneratedSequences(seed, max(pairs // FRAMES, 2), photo_px)
