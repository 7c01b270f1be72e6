"""`samae synth FOLDER`: photographs of generated people in FFHQ's layout, or a video sequence."""

from pathlib import Path

from rich.progress import Progress


def run(folder: Path, count: int, size_px: int, people: int | None, seed: int) -> None:
    """Write (or continue) the folder and say where it is."""
    from faces.synthetic.dataset import write_dataset

    tell_of_compiling()
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


def run_video(folder: Path, frames: int, size_px: int, seed: int) -> None:
    """Write a sequence of person 1 of the seed with person 0's face in true swaps, and say where it is."""
    from faces.synthetic.video import write_sequence

    tell_of_compiling()
    with Progress(transient=True) as bars:
        task = bars.add_task("frames", total=frames)
        write_sequence(
            folder, seed, frames, size_px, progress=lambda done, total: bars.update(task, completed=done, total=total)
        )
    print(f"{frames} frames in {folder}: source.png, target, and true swaps in face and full with masks beside them")


def tell_of_compiling() -> None:
    """One line before the first picture of an installation: its kernels are compiled, and nothing moves meanwhile."""
    from faces.compiled import is_compiled
    from faces.synthetic.skin_shading import light_blocks

    if not is_compiled(light_blocks):
        print("compiling the kernels, once an installation; this may take a minute", flush=True)
