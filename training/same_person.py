"""A second picture of the person in a picture, for methods that learn from pairs of one person.

Which one follows from (seed, position) alone, as everything in training/stream.py does: ranks, threads and restarts
draw the same. The index takes four numbers a picture. (Ours: SimSwap's script draws from the person's folder.)
"""

import numpy as np

from faces.errors import SamaeError
from training.methods.base import generator_at


class SecondPictures:
    """Draws another picture of the same person.

    Args:
        persons: (n,) identity labels of the split's pictures in the order of its keys, -1 where unknown.
        seed: of the run.
    Raises:
        SamaeError: all pictures show one person, so there is nobody to swap with.
    """

    def __init__(self, persons: np.ndarray, seed: int) -> None:
        self.seed = seed
        people, group, count = np.unique(persons, return_inverse=True, return_counts=True)
        if len(people) == 1 and people[0] >= 0:
            raise SamaeError(
                f"all {len(persons)} training pictures show one person (label {people[0]}), and a swapper that learns "
                "from pairs needs two people at least: add pictures of others, or train a recipe of the method samae "
                "with identity.other_picture=false"
            )
        #: Places of the split sorted by person; where each picture's person begins there, and its own rank from there.
        self._sorted = np.argsort(persons, kind="stable")
        self._first = (np.cumsum(count) - count)[group]
        self._rank = np.empty(len(persons), np.int64)
        self._rank[self._sorted] = np.arange(len(persons)) - self._first[self._sorted]
        self._count = np.where(persons >= 0, count[group], 1)
        self.people = int((people >= 0).sum())
        self.single = int((count[people >= 0] == 1).sum())
        self.unlabelled = int((persons < 0).sum())

    def place_at(self, place: int, position: int) -> int | None:
        """The place in the split of another picture of this one's person, drawn by (seed, position); None: no other."""
        others = int(self._count[place]) - 1
        if others < 1:
            return None
        drawn = int(generator_at(self.seed, position, "second").integers(others))
        drawn += drawn >= self._rank[place]  # the picture itself is passed over
        return int(self._sorted[self._first[place] + drawn])

    @property
    def note(self) -> str:
        """One sentence: for whom there is no second picture."""
        if not self.people:
            return "no picture has an identity label: the picture itself, augmented, stands for another of its person"
        unknown = f" and {self.unlabelled} pictures without a label" if self.unlabelled else ""
        return (
            f"a person's second picture is another one of theirs, and the picture itself, augmented, for {self.single} "
            f"of {self.people} people, who have one picture{unknown}"
        )
