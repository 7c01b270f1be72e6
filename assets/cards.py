"""The model card of a registered version, in Markdown: what it was made of, under which terms, how good, how again.

After Mitchell et al. 2019 ("Model Cards for Model Reporting"). Every line is read from files that the graph wrote: the
export's config.json, the photographs' rows, the evaluation. Where a fact is not known the card says so.
"""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from assets.listing import folder_names
from assets.machine import commit
from assets.models import EXPORT
from assets.plan import Plan
from assets.store import Store
from assets.tables import OK, read_rows
from faces.errors import SamaeError
from faces.files import read_json, read_manifest

UNKNOWN = "not known"
#: Terms of torchvision's VGG-16, which the perceptual loss uses where a user put it (docs/methods.md).
VGG_LICENCE = "BSD-3-Clause (torchvision)"
#: Baselines beside each figure, in this order, where they were judged.
BESIDE = ("copy-target", "true-swap")

INTENDED = """\
- **For** research on face swapping and on its detection, and as a start for further training (`train.init_from`).
- **Not for** the face of anybody who did not agree, and not to deceive: say of every swapped picture that it is one.
- The terms above bind whoever uses the weights: the strictest of them holds."""


def model_card(plan: Plan, store: Store, recipe: str, evaluation: Any) -> str:
    """The card of one recipe's export as it was judged just now; Markdown that ends with a newline."""
    export = store.folder("swap_model", recipe) / EXPORT
    config = read_json(export / "config.json")
    title = f"# {recipe}, {config['size_px']} px, {config['parameters']:,} parameters"
    sections = {
        "Made of": _table(("what", "which", "digest"), _makers(store, config, export)),
        "Licences": _table(("of", "terms"), _licences(plan, store, config)),
        f"Figures ({len(evaluation.pairs)} pairs of people that training never saw, 95 % intervals)": _figures(
            evaluation
        ),
        "Limits": "\n".join(f"- {line}" for line in _limits(plan, config, evaluation)),
        "Use": INTENDED,
        "Once more": _again(plan, recipe, config),
    }
    about = config["recipe"].get("description", "")
    return "\n\n".join([title, about, *(f"## {name}\n\n{text}" for name, text in sections.items())]) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines)


def _makers(store: Store, config: dict[str, Any], export: Path) -> list[tuple[str, str, str]]:
    """What the weights were made of and by: (what, which, digest)."""
    made = config["metadata"]
    rows = [
        ("weights", "model.safetensors (SHA-256)", read_manifest(export).files["model.safetensors"][1]),
        ("photographs", store.set_name, store.digest("photographs")),
        ("shards", f"{made.get('samples_seen', 0) / 1000:g} kimg were seen of them", str(made.get("data_digest", ""))),
        ("head", config["head"]["edition"], config["head"]["digest"]),
        ("identity encoder", config["encoder"]["name"], config["encoder"]["digest"]),
        ("recipe", config["recipe"]["name"], config["recipe_digest"]),
        ("code", "commit at registration", commit()),
    ]
    start = made.get("init_from")
    if start:
        seen = f"{start['name']} (recipe {start['recipe']}, {start['samples_seen'] / 1000:g} kimg)"
        rows.insert(1, ("started from", seen, start["sha256"]))
    return rows


def _licences(plan: Plan, store: Store, config: dict[str, Any]) -> list[tuple[str, str]]:
    """(of what, terms) of the photographs and of every weight that took part."""
    rows = [
        (f"photographs ({count:,})", licence or UNKNOWN) for licence, count in photograph_licences(store).most_common()
    ]
    rows.append((f"head {config['head']['edition']}", _head_licence(plan)))
    names = {config["encoder"]["name"]: "identity encoder"} | dict.fromkeys(plan.judges, "judge (in no weight)")
    rows += [(f"{role} {name}", _encoder_licence(name)) for name, role in names.items()]
    if config["metadata"].get("perceptual") == "vgg16":
        rows.append(("VGG-16 (perceptual loss)", VGG_LICENCE))
    start = config["metadata"].get("init_from")
    if start:
        rows.append((f"starting weights {start['name']}", _start_licence(start)))
    return rows


def photograph_licences(store: Store) -> Counter[str]:
    """Licence (as the listing writes it) -> how many accepted photographs; empty where no rows are on this disk."""
    found: Counter[str] = Counter()
    for folder in folder_names(store):
        try:
            table = read_rows(store.folder("raw_faces", folder))
        except SamaeError:
            continue
        both = zip(table["licence"].to_pylist(), table["status"].to_pylist(), strict=True)
        found.update(licence for licence, status in both if status == OK)
    return found


def _head_licence(plan: Plan) -> str:
    from faces.morphable.registry import load_head

    return load_head(plan.head).licence


def _encoder_licence(name: str) -> str:
    from faces.identity.registry import load_encoder

    try:
        return load_encoder(name).licence
    except SamaeError:
        return UNKNOWN


def _start_licence(start: dict[str, Any]) -> str:
    from training.weights import find_weights, shipped_names

    is_ours = any(find_weights(name).sha256 == start["sha256"] for name in shipped_names())
    return "Apache-2.0 (comes with Samae)" if is_ours else "those of the run it comes from"


def _figures(evaluation: Any) -> str:
    shown = [name for name in BESIDE if name in evaluation.baselines]
    rows = []
    for info in evaluation.metrics:
        own = evaluation.summary[info.name]
        figure = _number(own["mean"]) + _interval(own)
        beside = [_number(evaluation.baselines[name].get(info.name, {}).get("mean", math.nan)) for name in shown]
        unit = f" ({info.unit})" if info.unit else ""
        rows.append((f"{info.title}{unit}, {info.direction} is better", figure, *beside, str(own["failed"])))
    return _table(("figure", "this model", *(name.replace("-", " ") for name in shown), "without a figure"), rows)


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "–"


def _interval(figure: dict[str, Any]) -> str:
    known = math.isfinite(figure["low"]) and math.isfinite(figure["high"])
    return f" [{figure['low']:.3f}, {figure['high']:.3f}]" if known else ""


def _limits(plan: Plan, config: dict[str, Any], evaluation: Any) -> list[str]:
    """What nobody should expect of it, as far as its configuration says."""
    limits = [f"Pictures of {config['size_px']} px: larger ones are swapped at that size and pasted back."]
    if plan.raw is None:
        limits.append(
            "It saw generated people alone, never a photograph of a real one; its figures say nothing of them."
        )
    else:
        limits.append(
            "Its figures hold for people like those of its photographs; other ages, skins and poses were not asked."
        )
    if config["recipe"]["losses"].get("adversarial", 0) == 0:
        limits.append("Trained without an adversarial loss: skin and beards are smoother than the truth.")
    failed = max((figure["failed"] for figure in evaluation.summary.values()), default=0)
    if failed:
        limits.append(f"Up to {failed} of {len(evaluation.pairs)} pairs could not be measured; they are in no mean.")
    if not evaluation.baselines.get("true-swap"):
        limits.append("There is no true swap of these people to compare with.")
    return limits


def _again(plan: Plan, recipe: str, config: dict[str, Any]) -> str:
    """The settings that differ from the defaults, as the command that makes the same weights."""
    given = []
    for name, field in Plan.model_fields.items():
        value = getattr(plan, name)
        if value != field.default:
            words = ",".join(value) if isinstance(value, tuple) else str(value)
            given.append(f"SAMAE_{name.upper()}='{words}'")
    made = config["metadata"]
    how = (
        f"{made.get('world_size', '?')} rank(s), engine {made.get('engine', '?')}, batch {made.get('batch_size', '?')}"
    )
    start = config["recipe"]["train"].get("init_from") or "nothing: from the beginning"
    return (
        f"```\n{' '.join([*given, 'samae train --recipe', recipe])}\n```\n\n"
        f"It was trained by {how}; seed {config['recipe'].get('seed', plan.seed)}; it starts from {start}. "
        "Every recipe setting is in `config.json` beside this card."
    )
