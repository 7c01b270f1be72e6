"""Proportions of the built-in head beside published anthropometry and beside a scan-based head.

    python -m faces.morphable.compare [path of ICT-FaceKit Light's model.npz]

prints one Markdown table: mean and standard deviation of distances between landmarks over random identities. Without
the file that column is left out, and the command says so. Nothing of another head goes into the built-in one but such
facts.
"""

import sys
from pathlib import Path

import numpy as np

from faces.errors import SamaeError
from faces.morphable.base import MorphableHead
from faces.morphable.registry import load_head

#: name -> (iBUG landmark, iBUG landmark, published mean mm, published spread mm). Published: recalled from Farkas 1994
#: and rounded, adults of both sexes pooled by us; None where his points are not iBUG's.
DISTANCES: dict[str, tuple[int, int, float | None, float | None]] = {
    "face height (27-8)": (27, 8, 115.0, 6.0),
    "nose length (27-33)": (27, 33, 51.0, 3.5),
    "nose base to chin (33-8)": (33, 8, 65.0, 5.0),
    "nose base to upper lip (33-51)": (33, 51, 14.5, 2.0),
    "upper lip (51-62)": (51, 62, 8.3, 1.4),
    "lower lip (66-57)": (66, 57, 9.5, 1.6),
    "mouth width (48-54)": (48, 54, 52.0, 3.7),
    "nostril width (31-35)": (31, 35, None, None),
    "tip to nose base (30-33)": (30, 33, 19.5, 1.9),
    "inner eye corners (39-42)": (39, 42, 32.5, 2.6),
    "outer eye corners (36-45)": (36, 45, 89.0, 4.0),
    "eye width (42-45)": (42, 45, 31.0, 1.3),
    "eye opening (43-47)": (43, 47, 10.2, 1.1),
    "brow to eye (19-37)": (19, 37, None, None),
    "face width (1-15)": (1, 15, 135.0, 5.5),
    "jaw width (4-12)": (4, 12, 103.0, 6.0),
}


def distances_mm(head: MorphableHead, count: int = 400, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of every entry of DISTANCES over `count` random identities, millimetres."""
    rng = np.random.Generator(np.random.PCG64(seed))
    identity = rng.standard_normal((count, head.layout.n_identity))
    modes = head.identity_mm[:, head.landmarks].astype(np.float64)
    points = head.mean_mm[head.landmarks] + np.einsum("nk,kvc->nvc", identity, modes)
    lengths = {name: np.linalg.norm(points[:, a] - points[:, b], axis=1) for name, (a, b, *_) in DISTANCES.items()}
    return {name: (float(values.mean()), float(values.std())) for name, values in lengths.items()}


def table(scan: MorphableHead | None) -> str:
    """The Markdown table; `scan` may be left out."""
    columns = [("built-in", distances_mm(load_head("builtin")))]
    if scan is not None:
        columns.append((scan.edition, distances_mm(scan)))
    head_row = "| distance, mm (iBUG points) | published | " + " | ".join(name for name, _ in columns) + " |"
    rows = [head_row, "|---|---|" + "---|" * len(columns)]
    for name, (_, _, mean, spread) in DISTANCES.items():
        published = "" if mean is None else f"{mean:.1f} ± {spread:.1f}"
        values = [f"{figures[name][0]:.1f} ± {figures[name][1]:.1f}" for _, figures in columns]
        rows.append(f"| {name} | {published} | " + " | ".join(values) + " |")
    return "\n".join(rows)


def main(arguments: list[str]) -> int:
    """Print the table; the exit code is 0, also without the file, and 2 when the file is damaged."""
    path = Path(arguments[0]) if arguments else None
    if path is None or not path.is_file():
        sys.stderr.write("no ICT-FaceKit Light npz given or found: its column is left out\n")
        sys.stdout.write(table(None) + "\n")
        return 0
    try:
        scan = load_head("ict", path)
    except SamaeError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(table(scan) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
