"""The `samae` command. Every command is a thin function here and a module in pipelines/commands, imported when it runs.

A SamaeError is printed as its one sentence, and the exit code is 2; so is that of a wrong option.
"""

import os
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, get_type_hints

import click
import typer
from typer.core import TyperArgument, TyperCommand

from faces.errors import SamaeError
from faces.files import no_space


class Page(StrEnum):
    """What `samae dev` opens."""

    both = "both"
    dagster = "dagster"
    mlflow = "mlflow"


class LandmarkReader(StrEnum):
    """Who reads the landmarks of a plain photograph."""

    auto = "auto"
    own = "own"
    insightface = "insightface"


class WithArguments(TyperCommand):
    """A command that shows the help of its arguments: typer 0.25 loses it with click 8.5."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The parameters, arguments with the help of their annotation."""
        params = super().get_params(ctx)
        hints = get_type_hints(self.callback, include_extras=True)
        for param in params:
            if isinstance(param, TyperArgument) and not param.help:
                param.help = hints[str(param.name)].__metadata__[0].help
        return params

    def format_arguments(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Nothing: typer writes them with the options, and click 8.5 would a second time."""


app = typer.Typer(
    name="samae",
    help="Face swapping from photographs to a judged, registered model. Settings: environment variables SAMAE_*.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"terminal_width": 120, "max_content_width": 120},
)
models_app = typer.Typer(help="The registered models and who is champion.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(models_app, name="models")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Landmarks = Annotated[
    LandmarkReader | None,
    typer.Option(
        help="Who reads landmarks where none are given: own (ours, trained on generated people), insightface (its "
        "weights are yours to get), auto (insightface where its weights are, else own). Default: SAMAE_LANDMARKS, auto."
    ),
]


@app.command()
def demo(
    plain: Annotated[bool, typer.Option(help="Plain lines in place of bars.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting SAMAE_NAME as name=value; may be repeated."),
    ] = None,
) -> None:
    """Make the whole graph: faces in, a trained, judged and registered swapper out. Skips what is up to date."""
    from pipelines.commands import demo as command

    command.run(settings or [], plain)


@app.command()
def dev(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the Dagster page (default: SAMAE_DAGSTER_PORT, 3000).")
    ] = None,
    mlflow_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the MLflow page (default: SAMAE_MLFLOW_PORT, 5000).")
    ] = None,
    page: Annotated[Page, typer.Option(help="Which page.")] = Page.both,
) -> None:
    """Open the Dagster and the MLflow page on localhost, until Ctrl-C."""
    from pipelines.commands import dev as command

    command.run(port, mlflow_port, page.value)


@app.command()
def doctor(
    as_json: Json = False,
    deep: Annotated[bool, typer.Option("--deep", help="Also let every component work once, about a minute.")] = False,
) -> None:
    """Say what this machine can do; exit code 0 when the main job can run, 2 when not."""
    from pipelines.commands import doctor as command

    command.run(as_json, deep)


@app.command(cls=WithArguments)
def bench(
    name: Annotated[str | None, typer.Argument(help="Which benchmark.")] = None,
    as_json: Json = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of this benchmark; may be repeated."),
    ] = None,
    list_all: Annotated[bool, typer.Option("--list", help="List the benchmarks.")] = False,
) -> None:
    """Run one benchmark and print its figures, with their units in their names."""
    from pipelines.commands import bench as command

    command.run(name, as_json, settings or [], list_all)


@app.command()
def train(
    recipe: Annotated[
        str,
        typer.Option(
            help="Name of a recipe, training/recipes/NAME.yaml, or of an identity encoder's, "
            "training/recipes/encoders/NAME.yaml (settings: training/encoder/recipe.py)."
        ),
    ] = "samae",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="A key of the recipe, such as train.total_kimg=20; may be repeated."
        ),
    ] = None,
    ranks: Annotated[
        int | None,
        typer.Option(min=1, help="Training processes (default: one a GPU, else one a core as far as they fit)."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved recipe and stop.")] = False,
) -> None:
    """Train one recipe on the shards (asset swap_model), or one encoder (asset identity_encoder)."""
    from pipelines.commands import train as command

    command.run(recipe, settings or [], ranks, dry_run)


PROTOCOL_HELP = (
    "cross, same, large-pose, large-shape, skin-tone, occlusion, consistency, video, faceforensics, celeba-hq"
)


@app.command()
def evaluate(
    recipe: Annotated[str, typer.Option(help="Name of a trained recipe.")] = "samae",
    protocol: Annotated[str, typer.Option(help=PROTOCOL_HELP)] = "cross",
    pairs: Annotated[int | None, typer.Option(min=4, help="Pairs (default: SAMAE_PAIRS; a set's whole list).")] = None,
    report: Annotated[Path | None, typer.Option(help="Also write the page of this judgement there (.html).")] = None,
    as_json: Json = False,
) -> None:
    """Judge one trained recipe on frozen pairs (protocol cross is the asset swap_evaluation); print its figures."""
    from pipelines.commands import evaluate as command

    command.run(recipe, as_json, protocol, pairs, report)


MODEL_HELP = "champion, another alias, a version, a recipe trained here, weights that come with Samae, or a folder."


@app.command(cls=WithArguments)
def swap(
    source: Annotated[str, typer.Argument(help="Picture with the source face, or a key of the shards.")],
    target: Annotated[str, typer.Argument(help="Picture, folder of pictures, or a key of the shards.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Picture to write (swap.png), or folder (swapped) for a folder of targets."),
    ] = None,
    model: Annotated[str, typer.Option(help=MODEL_HELP)] = "champion",
    landmarks: Landmarks = None,
) -> None:
    """Put the source's face into the target's picture, or into every picture of a folder."""
    from pipelines.commands import swap as command

    _read_landmarks_by(landmarks)
    command.run(source, target, out, model)


@app.command(cls=WithArguments)
def synth(
    folder: Annotated[Path, typer.Argument(help="Where to write.")],
    count: Annotated[int, typer.Option(min=1, help="Photographs.")] = 100,
    size_px: Annotated[int, typer.Option(min=64, max=4096, help="Width, px.")] = 256,
    people: Annotated[int | None, typer.Option(min=1, help="Different people; about count / 4 by default.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed.")] = 0,
    video: Annotated[int, typer.Option(min=0, help="Frames of a sequence with its true swaps, instead of a set.")] = 0,
) -> None:
    """Write photographs of generated people in FFHQ's layout, or one video sequence with its true swaps."""
    from pipelines.commands import synth as command

    if video:
        command.run_video(folder, video, size_px, seed)
    else:
        command.run(folder, count, size_px, people, seed)


@app.command(cls=WithArguments)
def ingest(
    photographs: Annotated[Path, typer.Argument(help="Folder of photographs: PNG, JPEG or WebP, any size.")],
    folder: Annotated[Path, typer.Argument(help="Where to write the set in FFHQ layout.")],
    size_px: Annotated[int, typer.Option(min=64, max=4096, help="Width of the aligned crops, px.")] = 256,
    licence: Annotated[str, typer.Option(help="Licence of the photographs, kept with every face.")] = "unknown",
    landmarks: Landmarks = None,
) -> None:
    """Align and cut the faces of plain photographs: by landmarks.json beside them, else found by a detector."""
    from pipelines.commands import ingest as command

    _read_landmarks_by(landmarks)
    command.run(photographs, folder, size_px, licence)


@app.command()
def metrics(
    port: Annotated[int | None, typer.Option(min=0, help="Serve them here until Ctrl-C instead of printing.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; the metrics ask for no password.")] = "127.0.0.1",
    instance: Annotated[
        Path | None, typer.Option(help="Folder of another dagster.yaml; else DAGSTER_HOME's (if Samae's), or ours.")
    ] = None,
) -> None:
    """Prometheus metrics: photographs made and rejected, training's speed, runs and pools."""
    from pipelines.commands import metrics as command

    command.run(port, host, instance)


@app.command()
def pictures() -> None:
    """Draw the pictures of people, heads, fits and landmarks in docs/images again."""
    from pipelines.commands import pictures as command

    command.run()


@models_app.command("list")
def models_list(as_json: Json = False) -> None:
    """All registered versions with their aliases and verdicts, and the weights that come with Samae."""
    from pipelines.commands import models as command

    command.list_versions(as_json)


@models_app.command("show", cls=WithArguments)
def models_show(
    version: Annotated[str, typer.Argument(help="A number, an alias, or the name of weights that come with Samae.")],
    as_json: Json = False,
) -> None:
    """Everything that is known of one version."""
    from pipelines.commands import models as command

    command.show(version, as_json)


@models_app.command("rollback")
def models_rollback() -> None:
    """Make the previous champion champion again."""
    from pipelines.commands import models as command

    command.rollback()


def _read_landmarks_by(reader: LandmarkReader | None) -> None:
    """Set SAMAE_LANDMARKS for this process and those that it starts, where the option was given."""
    if reader is not None:
        os.environ["SAMAE_LANDMARKS"] = reader.value


#: Said where a full disk ends a command: Dagster's own records may be what could not be written.
DISK_FULL = "the disk is full or cannot be written; what was finished is kept: make room, and the same command goes on"

#: Said where somebody ended a command.
STOPPED = "stopped; what was finished is kept, the same command goes on from there"


def _is_interruption(error: BaseException) -> bool:
    """Ctrl-C, or what Dagster makes of it and of SIGTERM during a run (by its name: dagster is not imported here)."""
    return isinstance(error, KeyboardInterrupt) or type(error).__name__ == "DagsterExecutionInterruptedError"


def _terminated(*_: object) -> None:
    """SIGTERM is an orderly end too: workers and scratch go before the process, and a second one disturbs nothing."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print(f"samae: {STOPPED}", file=sys.stderr)
    sys.exit(128 + signal.SIGTERM)


def _tell_signals() -> int:
    """A descriptor that gives the number of every signal that this process handles from now on.

    During a run Dagster handles SIGTERM as it does Ctrl-C, and does not say which of them it was.
    """
    told, tell = os.pipe()
    for end in (told, tell):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))  # a worker's signals are its own
    return told


def _ending_signal(told: int) -> int:
    """The first signal that was to end this process."""
    try:
        numbers = os.read(told, 4096)
    except BlockingIOError:
        numbers = b""
    return next((number for number in numbers if number in (signal.SIGINT, signal.SIGTERM)), signal.SIGINT)


def main() -> None:
    """Entry point of the `samae` script. Exit codes: 2 a SamaeError, 130 Ctrl-C, 143 SIGTERM."""
    told = _tell_signals()
    signal.signal(signal.SIGTERM, _terminated)
    try:
        app()
    except SamaeError as error:
        print(f"samae: {error}", file=sys.stderr)
        sys.exit(2)
    except BaseException as error:
        if no_space(error):
            print(f"samae: {DISK_FULL}", file=sys.stderr)
            sys.exit(2)
        if not _is_interruption(error):
            raise
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print(f"samae: {STOPPED}", file=sys.stderr)
        sys.exit(128 + _ending_signal(told))


if __name__ == "__main__":
    main()
