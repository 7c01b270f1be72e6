"""SAMAE and SimSwap: pure preparation, what the generator may see, gradients, alternation, swaps."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from method_fakes import SIZE_PX, TINY, tiny_batch, tiny_encoder, tiny_head

from faces.errors import SamaeError
from faces.identity.registry import load_encoder
from training import losses as loss_functions
from training.augment import colour_jitter, flips, jitter_factors, mirror, mirror_landmarks
from training.batch import FaceBatch
from training.config import load_recipe
from training.methods import mesh_kernels
from training.methods.base import PARTNER_GROUP, MethodBase, build_method, generator_at, generators_at, partners
from training.methods.mesh_inputs import (
    BAND_PX,
    MeshPictures,
    MeshRenderer,
    filled,
    forehead_band,
    occluders_beyond,
    resampled,
    start_and_masked,
    start_picture,
    without_slits,
)
from training.methods.samae import Samae, SamaeInputs
from training.methods.simswap import SimSwap

ADVERSARIAL = ["losses.adversarial=0.1"]


def samae(*overrides: str, recipe: str = "samae") -> Samae:
    method = build_method(load_recipe(recipe, [*TINY, *overrides]), tiny_head(), tiny_encoder())
    assert isinstance(method, Samae)
    return method


def simswap(*overrides: str) -> SimSwap:
    method = build_method(load_recipe("simswap", [*TINY, *overrides]), tiny_head(), tiny_encoder())
    assert isinstance(method, SimSwap)
    return method


def prepared(method: Samae, step: int = 0) -> SamaeInputs:
    return method.prepare(tiny_batch(), seed=1, positions=range(8), step=step)


def wake(method: MethodBase) -> None:
    """Give the layers that start at zero something, so that gradients and changes can be seen."""
    torch.manual_seed(0)
    for module in (method.generator, method.ema):
        for parameter in module.parameters():
            if parameter.dim() > 1 and parameter.abs().max() == 0:
                torch.nn.init.normal_(parameter, std=0.05)


def test_partners_stay_in_their_group_and_are_never_oneself() -> None:
    chosen = partners(range(8), seed=3)
    assert all(a != b and a // PARTNER_GROUP == b // PARTNER_GROUP for a, b in enumerate(chosen))
    assert partners(range(4, 8), seed=3) == [row - 4 for row in chosen[4:]]
    assert partners([5], seed=3) == [0]


def test_preparation_is_pure_and_does_not_depend_on_the_split_into_ranks() -> None:
    method, batch = samae(), tiny_batch()
    whole = method.prepare(batch, seed=1, positions=range(8), step=0)
    again = samae().prepare(batch, seed=1, positions=range(8), step=0)
    half = method.prepare(batch.select([4, 5, 6, 7]), seed=1, positions=range(4, 8), step=0)
    for name in ("start", "masked", "hole", "mesh"):
        torch.testing.assert_close(getattr(whole.conditions, name), getattr(again.conditions, name), atol=0, rtol=0)
        torch.testing.assert_close(getattr(whole.conditions, name)[4:], getattr(half.conditions, name), atol=0, rtol=0)
    torch.testing.assert_close(whole.conditions.vector[4:], half.conditions.vector, atol=1e-5, rtol=1e-5)
    other = method.prepare(batch, seed=2, positions=range(8), step=0)
    assert not torch.equal(other.conditions.hole, whole.conditions.hole)


def test_meshes_are_scaled_as_the_recipe_says(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []
    render = MeshRenderer.render

    def noting(self: MeshRenderer, rows: torch.Tensor, scale: np.ndarray, remember: bool) -> MeshPictures:
        """The render itself, its scales noted."""
        seen.append(scale)
        return render(self, rows, scale, remember)

    monkeypatch.setattr(MeshRenderer, "render", noting)
    for recipe, settings in (("samae", ()), ("samae", ("mesh.scaling=0.3",)), ("samae-no-mesh-scaling", ())):
        samae(*settings, recipe=recipe).prepare(tiny_batch(), seed=1, positions=range(8), step=0)
    usual, wide, none = seen
    assert 0.9 <= usual.min() < 1 < usual.max() <= 1.1
    np.testing.assert_allclose(wide - 1, 3 * (usual - 1))
    assert (none == 1).all()


def test_the_generator_may_see_another_picture_of_the_person_and_the_loss_asks_for_its_own() -> None:
    own, other = samae(), samae("identity.other_picture=true")
    assert (own.second_every, other.second_every) == (0, 1)
    batch = tiny_batch()
    second = torch.nn.functional.normalize(
        torch.randn(batch.embedding.shape, generator=torch.Generator().manual_seed(4))
    )
    second[[2, 5]] = 0  # these two people have one picture
    plain = prepared(own)
    seen = other.prepare(replace(batch, second=second), seed=1, positions=range(8), step=0)
    dim = second.shape[1]
    shown = seen.conditions.vector[:, :dim] / dim**0.5
    torch.testing.assert_close(shown[[0, 1, 3, 4, 6, 7]], second[[0, 1, 3, 4, 6, 7]])
    torch.testing.assert_close(shown[[2, 5]], plain.identity[[2, 5]])
    torch.testing.assert_close(seen.identity, plain.identity)
    assert torch.equal(prepared(other).conditions.vector, plain.conditions.vector)  # a set without labels


def test_the_hidden_face_does_not_leak_into_pictures_that_the_generator_sees() -> None:
    method, batch = samae("flip=false"), tiny_batch()
    seen = method.prepare(batch, seed=1, positions=range(8), step=0).conditions
    painted = replace(batch, image=torch.where(seen.hole > 0, torch.rand_like(batch.image), batch.image))
    other = method.prepare(painted, seed=1, positions=range(8), step=0).conditions
    hard = (seen.hole == 0) | (seen.hole == 1)  # soft pixels of the mask show a part of themselves, as they should
    assert (seen.hole >= batch.mask - 1e-6).all()
    for name in ("masked", "mesh"):
        torch.testing.assert_close(getattr(other, name) * hard, getattr(seen, name) * hard, atol=1e-6, rtol=0)


def test_what_is_not_hidden_passes_unchanged() -> None:
    method = samae()
    wake(method)
    inputs = prepared(method)
    made = method.generator_losses(inputs).fake
    outside = (inputs.conditions.hole == 0).expand_as(made)
    torch.testing.assert_close(made[outside], inputs.image[outside], atol=1e-6, rtol=0)
    assert (made - inputs.conditions.start).abs().max() > 1e-3


@pytest.mark.parametrize("recipe", ["samae", "samae-vector-condition", "samae-no-skin-colour", "samae-no-perforation"])
def test_every_variant_trains_all_its_weights(recipe: str) -> None:
    method = samae(recipe=recipe)
    wake(method)
    losses = method.generator_losses(prepared(method))
    losses.total.backward()
    silent = [n for n, p in method.generator.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    assert silent == []
    assert losses.total.isfinite()
    assert {"reconstruction", "face", "detail", "identity", "perceptual"} <= set(losses.parts)


def test_without_perforation_the_hole_is_the_visible_face() -> None:
    method = samae("flip=false", recipe="samae-no-perforation")
    torch.testing.assert_close(prepared(method).conditions.hole, tiny_batch().mask, atol=0, rtol=0)


def test_the_total_is_the_weighted_sum_of_the_parts() -> None:
    method = samae("losses.identity=0.7", "losses.perceptual=0.3", "losses.face=2.0", "losses.detail=0.5")
    losses = method.generator_losses(prepared(method))
    weights = method.recipe.losses
    wanted = sum(getattr(weights, name) * value for name, value in losses.parts.items())
    torch.testing.assert_close(losses.total.detach(), torch.as_tensor(wanted), atol=1e-6, rtol=1e-5)


def test_without_vgg_the_encoder_does_not_choose_the_perceptual_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipes that differ in the encoder compare the same maps, those of builtin; the identity loss has its own."""
    monkeypatch.delenv("SAMAE_WEIGHTS", raising=False)
    monkeypatch.setenv("HOME", "/nonexistent")
    parts = []
    for encoder in (load_encoder("builtin"), load_encoder("blendface"), tiny_encoder()):
        method = build_method(load_recipe("samae", TINY), tiny_head(), encoder)
        assert isinstance(method, Samae)
        made, batch = tiny_batch(seed=2).image, tiny_batch()
        embedding, maps = method.features(made, batch.landmarks)
        wanted = method.features.maps(batch.image, batch.landmarks)
        parts.append(sum(float((a - b).abs().mean()) for a, b in zip(maps, wanted, strict=True)))
        torch.testing.assert_close(embedding, encoder.embed_tensor(made, batch.landmarks), atol=1e-5, rtol=1e-4)
        assert any("features of the identity encoder builtin" in note for note in method.notes)
    assert parts[1] == pytest.approx(parts[0], rel=1e-5)
    assert parts[2] == pytest.approx(parts[0], rel=1e-5)


def test_the_skin_vector_reaches_the_generator_only_where_the_recipe_says_so() -> None:
    darker = replace(tiny_batch(), skin=tiny_batch().skin * 0.5)
    for recipe, reaches in (("samae", True), ("samae-no-skin-colour", False)):
        method = samae(recipe=recipe)
        a = prepared(method).conditions
        b = method.prepare(darker, seed=1, positions=range(8), step=0).conditions
        assert (not torch.equal(a.start, b.start)) is reaches
        assert (not torch.equal(a.vector, b.vector)) is reaches


def test_the_generator_step_leaves_the_discriminator_alone() -> None:
    method = samae(*ADVERSARIAL)
    assert method.discriminator is not None
    made = method.generator_losses(prepared(method))
    made.total.backward()
    assert "adversarial" in made.parts
    assert all(p.grad is None and p.requires_grad for p in method.discriminator.parameters())


def test_the_discriminator_step_trains_it_with_lazy_r1() -> None:
    method = samae(*ADVERSARIAL, "losses.r1_every_steps=4")
    assert method.discriminator is not None
    for step, has_r1 in ((0, True), (1, False), (4, True)):
        inputs = prepared(method, step=step)
        fake = method.generator_losses(inputs).fake
        assert fake is not None
        judged = method.discriminator_losses(inputs, fake)
        assert ("r1" in judged.parts) is has_r1
        judged.total.backward()
    assert all(p.grad is not None for p in method.discriminator.parameters())
    assert all(p.grad is None for p in method.generator.parameters())


def test_the_adversary_waits_for_its_kimg() -> None:
    method = samae(*ADVERSARIAL, "losses.adversarial_from_kimg=0.016")
    assert "adversarial" not in method.generator_losses(prepared(method, step=1)).parts
    assert "adversarial" in method.generator_losses(prepared(method, step=2)).parts


@pytest.mark.parametrize(
    ("halflife_kimg", "rampup_ratio", "samples_seen"), [(0.008, 1.0, 1_000_000), (1000.0, 0.5, 16)]
)
def test_averaged_weights_follow_by_the_half_life_which_ramps_up_with_the_pictures_seen(
    halflife_kimg: float, rampup_ratio: float, samples_seen: int
) -> None:
    """Of 8 pictures both times."""
    method = samae(f"train.ema_halflife_kimg={halflife_kimg}", f"train.ema_rampup_ratio={rampup_ratio}")
    name, weight = next(iter(method.generator.named_parameters()))
    before = method.ema.get_parameter(name).clone()
    with torch.no_grad():
        weight.add_(1.0)
    method.update_ema(8, samples_seen)
    torch.testing.assert_close(method.ema.get_parameter(name), before + 0.5, atol=1e-6, rtol=0)


def test_compilation_keeps_the_names_of_the_weights() -> None:
    plain, compiled = samae(), samae("train.compile=true")
    assert compiled.generator._compiled_call_impl is not None
    assert compiled.ema._compiled_call_impl is None
    assert plain.generator._compiled_call_impl is None
    assert list(plain.generator.state_dict()) == list(compiled.generator.state_dict())


def test_a_swap_takes_shape_and_embedding_of_the_source_and_leaves_the_rest() -> None:
    method, batch = samae("mask.feather_px=0"), tiny_batch()
    wake(method)
    source = batch.select([4, 5, 6, 7])
    target = batch.select([0, 1, 2, 3])
    result = method.swap(source, target)
    outside = (result.mask == 0).expand_as(result.image)
    torch.testing.assert_close(result.image[outside], target.image[outside], atol=0, rtol=0)
    assert result.image.shape == (4, 3, SIZE_PX, SIZE_PX)
    assert result.image.min() >= 0
    assert result.image.max() <= 1
    other_vector = replace(source, embedding=-source.embedding)
    assert (method.swap(other_vector, target).image - result.image).abs().max() > 1e-3
    wide = source.coefficients.clone()
    wide[:, 0] += 8  # the mode that widens the head
    assert method.swap(replace(source, coefficients=wide), target).mask.sum() > result.mask.sum()
    turned = source.coefficients.clone()
    turned[:, method.head.layout.slices["rotation_rad"]] += 0.5
    same = method.swap(replace(source, coefficients=turned, image=1 - source.image, skin=source.skin * 0), target)
    torch.testing.assert_close(same.image, result.image, atol=0, rtol=0)


def test_a_swap_ignores_what_the_targets_face_looks_like() -> None:
    method, batch = samae(), tiny_batch()
    wake(method)
    result = method.swap(batch.select([4]), batch.select([0]))
    target = batch.select([0])
    other = replace(target, image=torch.where(result.mask == 1, 1 - target.image, target.image))
    again = method.swap(batch.select([4]), other)
    assert (result.mask == 1).sum() > 30
    hidden = (result.mask == 1).expand_as(result.image)
    torch.testing.assert_close(again.image[hidden], result.image[hidden], atol=1e-5, rtol=0)


def test_shards_of_another_size_are_refused_with_the_mend() -> None:
    method = build_method(load_recipe("samae", [*TINY, "size_px=64"]), tiny_head(), tiny_encoder())
    with pytest.raises(SamaeError, match="--set size_px=32"):
        method.prepare(tiny_batch(), seed=0, positions=range(8), step=0)


def test_an_encoder_that_judges_never_trains() -> None:
    judge = type("Judge", (), {"name": "judge-1", "dim": 16, "network": None})()
    with pytest.raises(SamaeError, match="only judges"):
        build_method(load_recipe("samae", TINY), tiny_head(), judge)


def test_filling_keeps_the_known_and_continues_it() -> None:
    picture, known = torch.rand(1, 3, 16, 16), torch.ones(1, 1, 16, 16)
    known[..., 4:12, 4:12] = 0
    out = filled(picture * known, known)
    torch.testing.assert_close(out * known, picture * known, atol=1e-6, rtol=0)
    flat = filled(torch.full((1, 3, 16, 16), 0.3), known)
    torch.testing.assert_close(flat, torch.full_like(flat, 0.3), atol=1e-5, rtol=0)
    torch.testing.assert_close(start_picture(picture, 1 - known, None) * known, picture * known, atol=1e-6, rtol=0)


def test_a_narrow_gap_takes_the_colours_of_its_own_two_sides() -> None:
    picture, known = torch.zeros(1, 3, 64, 64), torch.ones(1, 1, 64, 64)
    picture[..., :32], picture[..., 32:36] = 0.8, 0.5  # far from the gap, and left of it; black on the right
    picture[..., 36:], known[..., 35:37] = 0.2, 0
    out = filled(picture, known)
    assert out[..., 35].max() < 0.55  # nothing of the 0.8 that fills half the picture
    assert out[..., 35].min() > 0.3
    assert out[..., 36].max() < out[..., 35].min()


def test_the_render_stands_for_the_skin_above_the_forehead_alone() -> None:
    size_px = 64
    y, x = torch.meshgrid(torch.arange(size_px), torch.arange(size_px), indexing="ij")
    face = (((x - 32) / 14) ** 2 + ((y - 34) / 20) ** 2 <= 1).float()[None, None]
    band = forehead_band(face) * face
    assert band[0, 0, 15, 32] == 1
    assert band[0, 0, 15 + round(BAND_PX * size_px / 256), 32] == 0  # deeper in the forehead
    assert band[0, 0, 40:].sum() == 0  # cheeks and chin: there the edge is the outline
    image, hole = torch.full((1, 3, size_px, size_px), 0.2), torch.zeros(1, 1, size_px, size_px)
    hole[..., 8:60, 14:50] = 1
    start = start_picture(image, hole, MeshPictures(0.8 * face.expand(1, 3, -1, -1), face))[0, 0]
    above, below = start[13, 32] - 0.2, start[56, 32] - 0.2  # one pixel beyond the edge of the face
    assert above > 0.25
    assert below < 0.1


def test_slits_along_the_rim_are_closed_and_what_lies_inside_stays() -> None:
    own = torch.zeros(1, 1, 128, 128)
    own[..., 40:90, 40:90] = 1
    hole = torch.zeros(1, 1, 128, 128)
    hole[..., 30:100, 30:100] = 1
    hole[..., 40, 50:60] = 0  # a slit where two soft edges differed
    hole[..., 60:62, 42:88] = 0  # the bar of a pair of glasses
    closed, rim = without_slits(hole, own)
    assert closed[..., 40, 50:60].min() == 1
    assert closed[..., 60:62, 44:86].max() == 0
    assert rim[..., 40, 55] == 1
    assert rim[..., 60, 60] == 0
    assert torch.equal(closed[hole == 1], hole[hole == 1])


@pytest.mark.parametrize("size_px", [1, 8, 24, 64])
def test_a_sweep_gives_the_start_picture_of_the_operators(size_px: int) -> None:
    made = torch.Generator().manual_seed(size_px)
    image, render = (torch.rand(3, channels, size_px, size_px, generator=made) for channels in (3, 4))
    hole = (torch.rand(3, 1, size_px, size_px, generator=made) * 3 - 1).clamp(0, 1)
    hole[0], hole[1] = 0, 1  # nothing hidden, everything hidden
    mesh = MeshPictures(render[:, :3], render[:, 3:])
    start, masked = start_and_masked(image, hole, mesh, quick=True)
    torch.testing.assert_close(start, start_picture(image, hole, mesh), atol=1e-5, rtol=0)
    assert torch.equal(masked, image * (1 - hole))


@pytest.mark.parametrize(("side", "size_px"), [(32, 16), (32, 32), (48, 16)])
def test_a_sweep_resamples_as_the_operators_do(side: int, size_px: int) -> None:
    made = np.random.default_rng(side)
    large = made.integers(0, 256, (4, side, side, 4)).astype(np.uint8)
    shown = np.zeros((4, side, side, 1), bool)
    shown[0, 3:20, 5:17], shown[1, :9, 9:], shown[2] = True, True, True  # the last one shows nothing
    large *= shown
    scale, small = np.array([1.1, 0.9, 1.0, 1.0]), np.empty((4, 4, size_px, size_px), np.float32)
    mesh_kernels.resample_faces(large, scale, small)
    wanted = resampled(torch.from_numpy(large).permute(0, 3, 1, 2).float() / 255, scale, size_px)
    torch.testing.assert_close(torch.from_numpy(small), wanted, atol=1e-4, rtol=0)  # noise: the steepest


def test_tinting_by_table_is_tinting_by_formula() -> None:
    renderer, skin = samae().renderer, torch.tensor([[0.02, 0.3, 0.9], [0.4, 0.4, 0.4]])
    image = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    image[..., :5], image[:, :, 0, 5] = 0, 1
    mesh = MeshPictures(image, image[:, :1])
    quick, exact = (renderer.tinted(mesh, skin, quick).image for quick in (True, False))
    torch.testing.assert_close(quick, exact, atol=3e-5, rtol=0)
    assert (quick[..., :5] == 0).all()


def test_one_generator_set_anew_draws_what_new_ones_draw() -> None:
    positions = [5, 0, 2**40, 7]
    drawn = [
        (rng.random(dtype=np.float32), rng.integers(9), rng.random()) for rng in generators_at(3, positions, "mask")
    ]
    fresh = [generator_at(3, position, "mask") for position in positions]
    assert drawn == [(rng.random(dtype=np.float32), rng.integers(9), rng.random()) for rng in fresh]
    assert list(generators_at(3, [], "mask")) == []


def test_what_covers_the_face_goes_on_past_its_edge() -> None:
    silhouette, visible = torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16)
    silhouette[..., 4:12, 4:12] = 1
    visible[..., 8:12, 4:12] = 1  # the upper half is under hair
    visible[..., 11, 6] = 0  # a speck on the rim
    spread = occluders_beyond(silhouette, visible)
    assert spread[0, 0, :8].min() == 1
    assert spread[0, 0, 8:].max() == 0
    assert occluders_beyond(torch.zeros(1, 1, 16, 16), visible).sum() == 0


# ---- SimSwap ---------------------------------------------------------------------------------------------------


def test_updates_alternate_between_same_and_cross_identity() -> None:
    method, batch = simswap(), tiny_batch(people=8)
    even = method.prepare(batch, seed=0, positions=range(8), step=0)
    odd = method.prepare(batch, seed=0, positions=range(8), step=1)
    assert even.is_same.tolist() == [1.0] * 8
    assert odd.is_same.tolist() == [0.0] * 8
    wanted = batch.embedding[partners(range(8), 0)]
    torch.testing.assert_close(odd.identity, wanted)
    assert method.generator_losses(odd).parts["reconstruction"] == 0
    assert method.generator_losses(even).parts["reconstruction"] > 0


def test_same_identity_updates_use_another_picture_of_the_person_where_there_is_one() -> None:
    method, batch = simswap(), tiny_batch()
    second = batch.embedding.flip(0).clone()
    second[[2, 5]] = 0  # these two people have a single picture
    mixed = method.prepare(replace(batch, second=second), seed=0, positions=range(8), step=0).identity
    alone = method.prepare(batch, seed=0, positions=range(8), step=0).identity
    for row in range(8):
        wanted = alone[row] if row in (2, 5) else second[row]
        torch.testing.assert_close(mixed[row], wanted, atol=1e-5, rtol=1e-5)
    similar = (alone * tiny_encoder().embed_tensor(batch.image, batch.landmarks)).sum(1)
    assert 0.5 < similar.mean() < 0.9999


def test_simswap_trains_generator_and_discriminator_apart() -> None:
    method = simswap("losses.adversarial_from_kimg=0")
    assert method.discriminator is not None
    inputs = method.prepare(tiny_batch(), seed=0, positions=range(8), step=0)
    made = method.generator_losses(inputs)
    made.total.backward()
    assert {"identity", "reconstruction", "adversarial", "feature_matching"} <= set(made.parts)
    assert all(p.grad is None for p in method.discriminator.parameters())
    assert made.fake is not None
    method.generator.zero_grad(set_to_none=True)
    method.discriminator_losses(inputs, made.fake).total.backward()
    assert all(p.grad is not None for p in method.discriminator.parameters())
    assert all(p.grad is None for p in method.generator.parameters())


def test_simswap_swaps_inside_the_visible_face() -> None:
    method, batch = simswap(), tiny_batch()
    result = method.swap(batch.select([4, 5]), batch.select([0, 1]))
    outside = (batch.mask[:2] == 0).expand_as(result.image)
    torch.testing.assert_close(result.image[outside], batch.image[:2][outside], atol=0, rtol=0)
    assert (result.image - batch.image[:2]).abs().max() > 1e-3


def test_simswap_needs_two_pictures_in_a_batch() -> None:
    with pytest.raises(SamaeError, match="2 or more"):
        simswap("train.batch_size=1")


# ---- found by mutations: each of these fails on a mistake that all others would let through ---------------------


def covered(rows: slice) -> FaceBatch:
    """The tiny batch, something before these rows of every face."""
    batch = tiny_batch()
    mask = batch.mask.clone()
    mask[:, :, rows] = 0
    return replace(batch, mask=mask)


def test_a_mirrored_picture_is_mirrored_in_all_that_the_generator_sees() -> None:
    turned = flips(1, range(8))
    assert 0 < turned.sum() < 8
    seen, straight = prepared(samae()), prepared(samae("flip=false"))
    for name in ("start", "masked", "hole", "mesh"):
        there = mirror(getattr(straight.conditions, name), turned)
        torch.testing.assert_close(getattr(seen.conditions, name), there, atol=1e-4, rtol=0)
    for name in ("image", "face"):
        assert torch.equal(getattr(seen, name), mirror(getattr(straight, name), turned))
    assert torch.equal(seen.landmarks, mirror_landmarks(straight.landmarks, turned, SIZE_PX))


def test_a_hole_borrows_its_partners_shape_and_nothing_else_of_it() -> None:
    method, batch = samae("flip=false"), tiny_batch()
    place, chosen = method.head.layout.slices, partners(range(8), 1)

    def hole(row: int, part: str, step: float) -> torch.Tensor:
        """Of a row whose partner has another coefficient."""
        changed = batch.coefficients.clone()
        changed[chosen[row], place[part].start] += step
        given = replace(batch, coefficients=changed)
        return method.prepare(given, seed=1, positions=range(8), step=0).conditions.hole[row]

    own = method.prepare(batch, seed=1, positions=range(8), step=0).conditions.hole
    assert all(torch.equal(hole(row, "rotation_rad", 0.6), own[row]) for row in range(8))
    assert any(not torch.equal(hole(row, "identity", 8.0), own[row]) for row in range(8))


def test_a_swap_is_made_by_the_averaged_weights() -> None:
    batch = tiny_batch()
    for method in (samae(), simswap()):
        wake(method)
        before = method.swap(batch.select([4]), batch.select([0])).image
        with torch.no_grad():
            for parameter in method.generator.parameters():
                parameter.add_(0.5)
        assert torch.equal(method.swap(batch.select([4]), batch.select([0])).image, before)
        with torch.no_grad():
            for parameter in method.ema.parameters():
                parameter.add_(0.5)
        assert not torch.equal(method.swap(batch.select([4]), batch.select([0])).image, before)


def test_adversarial_terms_are_of_pictures_in_the_discriminators_range() -> None:
    """-1..1, as its own step shows them; lazy R1 is multiplied by its distance in steps."""
    r1 = ("losses.r1=10", "losses.r1_every_steps=4")
    for method in (samae(*ADVERSARIAL, *r1), simswap("losses.adversarial_from_kimg=0", *r1)):
        judge = method.discriminator
        assert judge is not None
        inputs = method.prepare(tiny_batch(), seed=0, positions=range(8), step=0)
        made = method.generator_losses(inputs)
        real = inputs.image if hasattr(inputs, "image") else inputs.target
        with torch.no_grad():
            fakes, reals = judge(made.fake * 2 - 1), judge(real * 2 - 1)
        form = method.recipe.losses.adversarial_form
        wanted = loss_functions.generator_adversarial([maps[-1] for maps in fakes], form)
        torch.testing.assert_close(made.parts["adversarial"], wanted, atol=1e-5, rtol=1e-4)
        if "feature_matching" in made.parts:
            first = method.recipe.losses.feature_matching_from
            matched = loss_functions.weak_feature_matching(fakes, reals, first)
            torch.testing.assert_close(made.parts["feature_matching"], matched, atol=1e-5, rtol=1e-4)
        judged = method.discriminator_losses(inputs, made.fake)
        told = loss_functions.discriminator_adversarial([m[-1] for m in reals], [m[-1] for m in fakes], form)
        torch.testing.assert_close(judged.parts["discriminator"], told, atol=1e-5, rtol=1e-4)
        total = judged.parts["discriminator"] + 10 * 4 * judged.parts["r1"]
        torch.testing.assert_close(judged.total.detach(), total, atol=1e-5, rtol=1e-5)


def test_a_cross_source_of_the_same_person_is_reconstructed_and_an_unknown_one_is_not() -> None:
    method, batch = simswap(), tiny_batch(people=4)
    odd = method.prepare(batch, seed=0, positions=range(8), step=1)
    assert odd.is_same.tolist() == (batch.person[partners(range(8), 0)] == batch.person).float().tolist()
    assert 0 < odd.is_same.sum() < 8
    unknown = replace(batch, person=torch.full_like(batch.person, -1))
    assert method.prepare(unknown, seed=0, positions=range(8), step=1).is_same.sum() == 0


def test_a_single_picture_stands_for_its_person_jittered_and_mirrored_with_its_landmarks() -> None:
    method, batch = simswap(), tiny_batch()
    even, turned = method.prepare(batch, seed=0, positions=range(8), step=0), flips(0, range(8))
    assert 0 < turned.sum() < 8
    pictures = colour_jitter(mirror(batch.image, turned), jitter_factors(method.recipe.identity, 0, range(8)))
    wanted = tiny_encoder().embed_tensor(pictures, mirror_landmarks(batch.landmarks, turned, SIZE_PX))
    torch.testing.assert_close(even.identity, wanted, atol=1e-5, rtol=1e-4)


def test_the_encoder_sees_the_jittered_picture() -> None:
    still = samae(*(f"identity.{name}=0" for name in ("brightness", "contrast", "saturation", "hue")))
    for method, same in ((still, True), (samae(), False)):
        inputs = prepared(method)
        plain = tiny_encoder().embed_tensor(inputs.image, inputs.landmarks)
        assert torch.allclose(inputs.identity, plain, atol=1e-5) is same


def test_a_hole_leaves_out_what_covers_the_face() -> None:
    method, batch = samae("flip=false", "mask.dilate_px=0"), covered(slice(16, None))
    hole = method.prepare(batch, seed=1, positions=range(8), step=0).conditions.hole
    under = (hole * (method.renderer.silhouette(batch.coefficients) == 1))[:, :, 18:]
    assert (under.sum((1, 2, 3)) > 0).sum() <= 2  # a bounding box now and then


def test_a_swap_lets_thin_things_before_the_face_through_by_their_share() -> None:
    method, batch = samae("mask.feather_px=0"), tiny_batch()
    target = replace(batch, mask=batch.mask * 0.8).select([0])
    result = method.swap(batch.select([4]), target)
    inner = method.renderer.silhouette(target.coefficients)[0, 0, 14:18, 14:18]
    assert (inner == 1).all()
    torch.testing.assert_close(result.mask[0, 0, 14:18, 14:18], torch.full((4, 4), 0.8))


def test_a_swap_leaves_what_covers_the_target_in_front_of_a_wider_face() -> None:
    method, batch = samae("mask.feather_px=0"), covered(slice(0, 16))
    source, target = batch.select([4]), batch.select([0])
    source.coefficients[:, 0] += 8  # the mode that widens the head
    own = method.renderer.silhouette(target.coefficients)
    wide = method.renderer.silhouette(method.renderer.with_identity(target.coefficients, source.coefficients))
    beyond, rows = (wide > 0.5) & (own == 0), torch.arange(SIZE_PX)[:, None]
    mask = method.swap(source, target).mask
    assert (beyond & (rows < 11)).sum() > 20
    assert mask[beyond & (rows < 11)].max() == 0
    assert mask[beyond & (rows > 18)].min() == 1


def test_a_swap_is_dilated_round_the_targets_jaw_alone() -> None:
    method, batch = samae("mask.feather_px=0", "mask.swap_dilate_px=24"), tiny_batch()
    target = batch.select([0])
    marks = target.landmarks.clone()
    marks[:, [0, 16, 8]] = torch.tensor([[6.0, 16.0], [26.0, 16.0], [16.0, 28.0]])
    target = replace(target, landmarks=marks)
    beyond = (method.swap(target, target).mask > 0) & (method.renderer.silhouette(target.coefficients) == 0)
    assert beyond[..., :16, :].sum() == 0
    assert beyond[..., 24:, :].sum() > 5
