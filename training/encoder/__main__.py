"""`python -m training.encoder`: train one encoder and write it as half-precision safetensors."""

import argparse
import sys
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import torch

from faces.errors import SamaeError
from faces.lock import sole_writer
from training.encoder.fit import fit
from training.encoder.recipe import EncoderRecipe, load_encoder_recipe
from training.process import EXIT_MENDABLE, start_with_allocator


def main(arguments: list[str] | None = None) -> int:
    """Command line: a recipe, and every setting of it as an option. The exit code; 2: the user can mend it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in asdict(EncoderRecipe()).items():
        if name != "name":
            kind = str if isinstance(value, bool) else type(value)
            parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=None, help=f"default {value}")
    parser.add_argument("--recipe", help="name (training/recipes/encoders/NAME.yaml) or path; the defaults without it")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--run-dir", type=Path, help="folder of checkpoints; an old one is continued")
    parser.add_argument("--cache", type=Path, default=Path(".samae/encoder"), help="folder that keeps the crops")
    parser.add_argument("--workers", type=int, default=2, help="processes that render people")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = vars(parser.parse_args(arguments))
    known = ("recipe", "out", "run_dir", "cache", "workers", "device")
    out, cache, workers = options["out"], options["cache"], options["workers"]
    changed = {key: value for key, value in options.items() if key not in known and value is not None}
    given = [f"{key}={value}" for key, value in changed.items()]
    try:
        recipe = load_encoder_recipe(options["recipe"] or "builtin", given)
        run_dir = options["run_dir"]
        with sole_writer(run_dir) if run_dir else nullcontext():
            fit(recipe, out, cache, workers, lambda line: print(line, flush=True), run_dir, options["device"])
    except SamaeError as error:
        print(f"samae: {error}", file=sys.stderr)
        return EXIT_MENDABLE
    return 0


if __name__ == "__main__":
    start_with_allocator()
    sys.exit(main())
