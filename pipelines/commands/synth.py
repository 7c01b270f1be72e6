"""`samae synth FOLDER`: photographs of generated people in FFHQ's layout."""

from pathlib import Path

from rich.progress import Progress


def run(folder: Path, count: int, size_px: int, people: int | None, seed: int) -> None:
    """Write (or continue) the folder and say where it is."""
    from faces.synthetic.dataset import write_dataset

    with Progress(transient=True) as bars:
        task = bars.add_task("photographs", total=count)
        write_dataset(
            folder,
            count,
            size_px=size_px,
            people=people,
            seed=seed,
            progress=lambda done, total: bars.update(task, completed=done, total=total),
        )
    print(f"{count} photographs in {folder}; use them with SAMAE_RAW={folder}")
