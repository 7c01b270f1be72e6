"""Recipes: one YAML file an experiment, read into frozen dataclasses. Unknown keys are refused, units are in the names.

`load_recipe("samae", ["train.total_kimg=20", "size_px=64"])` reads training/recipes/samae.yaml, lays it over the
recipe it `extends` (if any) and over the defaults below, and lays the overrides over all. Every default that no paper
states is our own; the YAML files mark such values with the comment `ours`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faces.errors import SamaeError
from faces.files import digest_of
from training.settings_tree import LATER, build_settings, plain, read_tree, require_one_of

RECIPE_FOLDER = Path(__file__).parent / "recipes"
#: Settings that divide, count steps or build layers, and their least values.
LEAST = {
    "losses.feature_stride": 1, "losses.r1_every_steps": 1, "train.log_every_steps": 1, "mesh.antialias": 1,
    "discriminator.width": 1, "discriminator.layers": 1, "discriminator.scales": 1,
}  # fmt: skip
#: Choices that samae alone has: an ablation of them in another method would silently be none.
SAMAES_OWN = (
    "flip", "mesh.condition", "mesh.scaling", "mesh.scaling_probability", "mask.perforation", "mask.dilate_px",
    "identity.skin_colour",
)  # fmt: skip
#: Losses that one method alone has.
OWN_LOSSES = {"samae": ("face", "detail"), "simswap": ("feature_matching",), "blendface": ("mask", "cycle")}


@dataclass(frozen=True, kw_only=True)
class GeneratorSettings:
    """The generator's size.

    Attributes:
        width: channels of the first level.
        multipliers: channels of each level over `width`; one level more halves the resolution once more.
        blocks: residual blocks a level (SAMAE), or ID-blocks in the bottleneck (SimSwap).
            (BlendFace: every multiplier is one strided convolution of the attribute encoder; no blocks setting.)
        attention_px: resolutions that get self-attention (SAMAE).
        patch_px: side of the pixel-unshuffle at the entrance; 1 works at full resolution (SAMAE).
        condition_width: width of the vector that modulates the group norms.
    """

    width: int = 32
    multipliers: tuple[int, ...] = (1, 2, 3, 4)
    blocks: int = 1
    attention_px: tuple[int, ...] = (8,)
    patch_px: int = 2
    condition_width: int = 128


@dataclass(frozen=True, kw_only=True)
class DiscriminatorSettings:
    """Multi-scale PatchGAN: `width` channels first, `layers` strided convolutions, `scales` pyramid levels.

    `kind` "projected" judges features of a frozen EfficientNet-lite0 where its weights are found (SimSwap's released
    script), and falls back to the PatchGAN, saying so, where they are not.
    """

    width: int = 64
    layers: int = 4
    scales: int = 2
    kind: str = field(default="patchgan", metadata=LATER)


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """Weights of the losses; 0 switches a loss off (adversarial 0 builds no discriminator).

    Attributes:
        reconstruction: L1 over the whole picture.  face: L1 inside the hole (SAMAE).
        detail: L1 of the differences between neighbouring pixels inside the hole.
        perceptual: features of VGG (when its weights are given) or of the encoder builtin.
        identity: 1 - cos of the embeddings.
        adversarial, adversarial_form: "hinge" or "nonsaturating".
        r1: weight of the squared gradient of D at real pictures, every `r1_every_steps` steps.
        feature_matching: L1 of the discriminator's features, from layer `feature_matching_from` to the last.
        feature_stride: perceptual and identity look at every so many-th picture only (1: all; saves CPU time).
        adversarial_from_kimg: no adversarial gradient before so many thousand pictures.
        reconstruction_form: "l1" or "half_squared" (0.5 * MSE, as in maum-ai/faceshifter; BlendFace).
        mask: binary cross-entropy of the mask head against the visible face (BlendFace).
        cycle: L1 after swapping the target's own identity back into the result (BlendFace).
    """

    reconstruction: float = 1.0
    face: float = 0.0
    detail: float = 0.0
    perceptual: float = 1.0
    identity: float = 1.0
    adversarial: float = 0.0
    adversarial_form: str = "nonsaturating"
    adversarial_from_kimg: float = 0.0
    r1: float = 1.0
    r1_every_steps: int = 16
    feature_matching: float = 0.0
    feature_matching_from: int = 2
    feature_stride: int = 1
    reconstruction_form: str = field(default="l1", metadata=LATER)
    mask: float = field(default=0.0, metadata=LATER)
    cycle: float = field(default=0.0, metadata=LATER)


@dataclass(frozen=True, kw_only=True)
class MaskSettings:
    """Perforation confusion and the swap's mask. All lengths are for a 256 px picture and scale with the size.

    Attributes:
        perforation: False switches every random part off (ablation).
        dilate_px: largest random dilation in training.
        swap_dilate_px: dilation at a swap, round the jaw alone.  feather_px: width of the soft edge at a swap.
    """

    perforation: bool = True
    dilate_px: float = 12.0
    swap_dilate_px: float = 6.0
    feather_px: float = 6.0


@dataclass(frozen=True, kw_only=True)
class MeshSettings:
    """The rendered mesh I_ras.

    Attributes:
        condition: "image" (the render, three channels) or "vector" (the coefficients through the MLP; ablation).
        scaling: half-width of the random scale, 0.1 means U(0.9, 1.1).  scaling_probability: 0 switches it off.
        antialias: samples a pixel along each axis.
        cache_mb: renders kept in memory between epochs, MiB a process.
    """

    condition: str = "image"
    scaling: float = 0.1
    scaling_probability: float = 0.8
    antialias: int = 2
    cache_mb: int = 256


@dataclass(frozen=True, kw_only=True)
class IdentitySettings:
    """The identity path.

    Attributes:
        encoder: name or path for faces.identity.load_encoder; never one of the judge's.
        brightness, contrast, saturation, hue: half-widths of the colour jitter before the encoder.
        skin_colour: True feeds the three-number skin colour to the generator.
        other_picture: True shows SAMAE's generator the embedding of another picture of the person, where there is one,
            as a swap does (ours; the paper embeds the picture). The identity loss asks for the picture's own as before.
    """

    encoder: str = "builtin"
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    skin_colour: bool = True
    other_picture: bool = field(default=False, metadata=LATER)


@dataclass(frozen=True, kw_only=True)
class OptimiserSettings:
    """AdamW for both networks; the learning rate rises linearly over `warmup_kimg` and falls to `final_fraction`."""

    learning_rate: float = 1e-4
    discriminator_learning_rate: float = 1e-4
    beta1: float = 0.0
    beta2: float = 0.99
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    warmup_kimg: float = 0.0
    final_fraction: float = 1.0


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """The loop.

    Attributes:
        total_kimg: length of the run in thousands of pictures shown.
        batch_size: pictures an update over all ranks.
        micro_batch: pictures a forward pass a rank, a multiple of methods.base.PARTNER_GROUP (0: all at once).
        engine: "deepspeed" or "ddp" (plain torch).  zero_stage: 0, 1 or 2.
        precision: "bf16" (autocast) or "fp32".
        ema_halflife_kimg, ema_rampup_ratio: averaged weights; the half-life is at most the ratio times pictures seen.
        snapshot_kimg, checkpoint_kimg: distance of sample grids and of checkpoints.
        keep_checkpoints: newest checkpoints kept (at least 2).
        workers: decoding threads of the stream.
        max_hours: stop cleanly after so long, 0 for never.
        patience_s: how long a rank waits for the others, seconds; longer than the longest checkpoint or snapshot takes.
        init_from: weights that a new run starts from: a name of training/weights, or an export folder; empty: none.
    """

    total_kimg: float = 20.0
    batch_size: int = 32
    micro_batch: int = 0
    engine: str = "deepspeed"
    zero_stage: int = 0
    precision: str = "bf16"
    channels_last: bool = True
    compile: bool = False
    ema_halflife_kimg: float = 1.0
    ema_rampup_ratio: float = 0.1
    snapshot_kimg: float = 5.0
    checkpoint_kimg: float = 5.0
    keep_checkpoints: int = 3
    log_every_steps: int = 10
    workers: int = 1
    max_hours: float = 0.0
    init_from: str = field(default="", metadata=LATER)
    patience_s: float = field(default=1200.0, metadata=LATER)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One experiment. `name` is the partition key of its model assets; `digest` changes with every setting."""

    name: str
    method: str
    description: str = ""
    size_px: int = 64
    seed: int = 0
    flip: bool = True
    generator: GeneratorSettings = field(default_factory=GeneratorSettings)
    discriminator: DiscriminatorSettings = field(default_factory=DiscriminatorSettings)
    losses: LossSettings = field(default_factory=LossSettings)
    mask: MaskSettings = field(default_factory=MaskSettings)
    mesh: MeshSettings = field(default_factory=MeshSettings)
    identity: IdentitySettings = field(default_factory=IdentitySettings)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    train: TrainSettings = field(default_factory=TrainSettings)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, nested as in the YAML file; settings marked LATER only where they were changed."""
        return plain(self)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits over every setting (the name and the description left out)."""
        return digest_of({key: value for key, value in self.as_dict().items() if key not in ("name", "description")})


def recipe_names() -> list[str]:
    """The recipes that come with the project, sorted."""
    return sorted(path.stem for path in RECIPE_FOLDER.glob("*.yaml"))


def load_recipe(name_or_path: str | Path, overrides: list[str] | None = None) -> Recipe:
    """A recipe by name (training/recipes/NAME.yaml) or by path, with overrides "a.b=value" (value in YAML).

    Raises SamaeError on an unknown recipe, key or type, with the nearest known spelling, and on what cannot be trained.
    """
    recipe = recipe_from_dict(read_tree(name_or_path, RECIPE_FOLDER, overrides or []))
    _check_training(recipe)
    return recipe


def recipe_from_dict(tree: dict[str, Any]) -> Recipe:
    """Nested plain values -> Recipe; the inverse of `Recipe.as_dict`. What was trained once is not doubted here."""
    recipe = build_settings(Recipe, tree)
    assert isinstance(recipe, Recipe)
    _check(recipe)
    return recipe


def _check(recipe: Recipe) -> None:
    require_one_of("method", recipe.method, ("samae", "simswap", "blendface"))
    require_one_of("mesh.condition", recipe.mesh.condition, ("image", "vector"))
    require_one_of("losses.adversarial_form", recipe.losses.adversarial_form, ("nonsaturating", "hinge"))
    require_one_of("losses.reconstruction_form", recipe.losses.reconstruction_form, ("l1", "half_squared"))
    require_one_of("discriminator.kind", recipe.discriminator.kind, ("patchgan", "projected"))
    require_one_of("train.engine", recipe.train.engine, ("deepspeed", "ddp"))
    require_one_of("train.precision", recipe.train.precision, ("bf16", "fp32"))
    from faces.identity.registry import refuse_judge  # brings torch: only when a recipe is checked

    refuse_judge(recipe.identity.encoder, recipe.name)
    patch_px = recipe.generator.patch_px if recipe.method == "samae" else 1
    halvings = len(recipe.generator.multipliers) - (recipe.method != "blendface")
    levels = patch_px * 2**halvings
    if recipe.size_px % levels or recipe.size_px < 2 * levels:
        raise SamaeError(
            f"size_px {recipe.size_px} is not a multiple of {levels}, as generator.multipliers (and patch_px) need; "
            "change one of them"
        )
    for name in ("batch_size", "total_kimg", "patience_s"):
        if not 0 < (value := getattr(recipe.train, name)) < float("inf"):
            raise SamaeError(f"recipe key 'train.{name}' must be above 0 and finite, not {value}")
    if recipe.seed < 0:
        raise SamaeError(f"recipe key 'seed' must be 0 or more, not {recipe.seed}")
    if recipe.train.keep_checkpoints < 2:
        raise SamaeError("recipe key 'train.keep_checkpoints' must be at least 2: the newest may be damaged")


def _check_training(recipe: Recipe) -> None:
    """What would fail in a training's first steps, or silently do nothing."""
    for key, least in LEAST.items():
        if (value := _at(recipe, key)) < least:
            raise SamaeError(f"recipe key {key!r} must be at least {least}, not {value}")
    for method, names in OWN_LOSSES.items():
        for name in names:
            if recipe.method != method and getattr(recipe.losses, name) != 0:
                raise SamaeError(f"recipe key 'losses.{name}' does nothing in {recipe.method}: that loss is {method}'s")
    if recipe.method != "samae":
        plain_one = Recipe(name="", method=recipe.method)
        for key in SAMAES_OWN:
            if _at(recipe, key) != _at(plain_one, key):
                raise SamaeError(
                    f"recipe key {key!r} does nothing in {recipe.method}: leave it out, or give it to "
                    f"the recipe that it is for, as in samae:{key}=…"
                )
    if recipe.identity.other_picture and recipe.method != "samae":
        raise SamaeError(
            f"recipe key 'identity.other_picture' does nothing in {recipe.method}, which always uses "
            "another picture of a person where there is one"
        )
    if recipe.method == "samae":
        for key, value, only in (
            ("losses.reconstruction_form", recipe.losses.reconstruction_form, "l1"),
            ("discriminator.kind", recipe.discriminator.kind, "patchgan"),
        ):
            if value != only:
                raise SamaeError(f"recipe key {key!r} is {value!r}, which does nothing in samae; it has {only!r} alone")
    if recipe.losses.adversarial != 0 or recipe.losses.feature_matching != 0:
        _check_discriminator(recipe)


def _at(recipe: Recipe, key: str) -> Any:
    value: Any = recipe
    for part in key.split("."):
        value = getattr(value, part)
    return value


def _check_discriminator(recipe: Recipe) -> None:
    """Of a PatchGAN, which also stands in for the projected one."""
    judge, weights, smallest_px = recipe.discriminator, recipe.losses, recipe.size_px
    for _ in range(judge.scales - 1):
        smallest_px = -(-smallest_px // 2)
    most = smallest_px.bit_length() - 1
    if judge.layers > most:
        raise SamaeError(
            f"discriminator.layers {judge.layers} are too many: the smallest of {judge.scales} scales of "
            f"{recipe.size_px} px sees {smallest_px} px, which {most} layers halve to one; choose at most {most}, or "
            "fewer scales"
        )
    if weights.feature_matching != 0 and not 0 <= weights.feature_matching_from < judge.layers:
        raise SamaeError(
            f"losses.feature_matching_from {weights.feature_matching_from} leaves none of the discriminator's "
            f"{judge.layers} layers to match; choose 0 to {judge.layers - 1}"
        )
    if judge.kind == "projected" and weights.r1 != 0:
        raise SamaeError("losses.r1 needs a PatchGAN's maps: set it to 0 with discriminator.kind=projected")
