"""What a recipe trains under a plan: the settings that follow from it, where it starts, and the digest of both."""

from typing import Any

from assets.identities import encoder_identity, head_identity
from assets.plan import Plan
from faces.errors import SamaeError

#: Of recipes that leave the choice to the plan.
DEFAULT_ENCODER = "builtin"
#: Weights that were trained already want smaller steps (ours).
CONTINUED = ("optimiser.learning_rate=4e-4",)


def recipe_identity(plan: Plan, recipe: str) -> dict[str, Any]:
    """What a recipe with this plan's settings trains: its digest, the ranks, and the weights that it starts from."""
    from training.config import load_recipe
    from training.weights import find_weights

    settings = load_recipe(recipe, recipe_overrides(plan, recipe))
    start = settings.train.init_from
    origin = {"init_from": find_weights(start).sha256} if start else {}
    return {"recipe": settings.digest, "ranks": plan.ranks, **origin}


def encoder_recipe_identity(plan: Plan, recipe: str) -> dict[str, Any]:
    """What an encoder's recipe with this plan's settings trains: its digest, its people, and where it starts from."""
    from training.encoder.crops import data_digest
    from training.encoder.recipe import load_encoder_recipe

    settings = load_encoder_recipe(recipe, encoder_overrides(plan, recipe))
    start = settings.start_from
    origin = {"start_from": encoder_identity(start)["digest"]} if start else {}
    try:
        data = data_digest(settings)
    except SamaeError:
        data = "unusable"  # the training itself says why
    return {"recipe": settings.digest, "data": data, **origin}


def encoder_overrides(plan: Plan, recipe: str) -> list[str]:
    """The settings meant for one encoder's recipe, `recipe:key=value`; the others are the swappers'."""
    return [part.partition(":")[2] for part in plan.overrides if part.startswith(f"{recipe}:")]


def recipe_overrides(plan: Plan, recipe: str) -> list[str]:
    """The recipe settings that follow from the plan, the user's own last."""
    from training.config import load_recipe
    from training.growing import patch_at

    bare = load_recipe(recipe)
    follows = [f"size_px={plan.picture_px}", f"seed={plan.seed}"]
    patch_px = patch_at(bare.as_dict(), plan.picture_px)
    if patch_px != bare.generator.patch_px:  # another size of the same network
        follows.append(f"generator.patch_px={patch_px}")
    if bare.identity.encoder == DEFAULT_ENCODER:  # a recipe that names another encoder keeps it
        follows.append(f"identity.encoder={plan.encoder}")
    kimg = plan.kimg_of(recipe)
    if kimg is not None:
        follows.append(f"train.total_kimg={kimg:g}")
    given = plan.overrides_of(recipe)
    return follows + continuation(plan, recipe, follows + given) + given


def require_own_size(plan: Plan, recipe: str) -> None:
    """SamaeError where a recipe would be trained at another size than its own and still be called by its name.

    No other size: one that its trunk serves, too (training/growing.py), and larger pictures for a recipe whose name
    says no size. Who gives `size_px` among the recipe's settings wants it so.
    """
    from training.config import load_recipe
    from training.growing import family, patch_at, trunk_px

    bare = load_recipe(recipe).as_dict()
    own_px, size_px = int(bare["size_px"]), plan.picture_px
    generator = bare["generator"] | {"patch_px": patch_at(bare, size_px)}
    is_served = trunk_px(bare | {"size_px": size_px, "generator": generator}) == trunk_px(bare)
    is_wished = any(given.partition("=")[0].strip() == "size_px" for given in plan.overrides_of(recipe))
    if is_served or is_wished or (size_px > own_px and family(recipe) == recipe):
        return
    photographs = f" and SAMAE_PHOTO_PX={own_px}" if plan.raw is None and plan.photo_px < own_px else ""
    raise SamaeError(
        f"recipe {recipe!r} is written for {own_px} px and the pictures are {size_px} px wide: set "
        f"SAMAE_PICTURE_PX={own_px}{photographs}, or say that {size_px} px are meant: --set size_px={size_px} of samae "
        f"train, SAMAE_OVERRIDES={recipe}:size_px={size_px}"
    )


def continuation(plan: Plan, recipe: str, overrides: list[str]) -> list[str]:
    """Settings that go on from the shipped weights: on generated people, where they fit and `from_scratch` is off."""
    from training.config import load_recipe
    from training.growing import family
    from training.weights import shipped_families, shipped_for

    if plan.from_scratch or plan.raw is not None or family(recipe) not in shipped_families():
        return []
    settings = load_recipe(recipe, overrides)
    if any(given.partition("=")[0].strip() == "train.init_from" for given in overrides):
        return []  # the user's own choice; an empty one means: from the beginning
    encoder = encoder_identity(settings.identity.encoder)["digest"]
    weights = shipped_for(settings, head_identity(plan.head)["digest"], encoder)
    if weights is None:
        return []
    sees_other = weights.config["recipe"]["identity"].get("other_picture", False)
    kept = ["identity.other_picture=true"] if sees_other else []  # or the run would unlearn what they learned by it
    return [f"train.init_from={weights.name}", *CONTINUED, *kept]
