"""training.engine: every engine equals plain torch on the joined batch, and states move between engines and stages."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from faces.errors import SamaeError
from training.config import OptimiserSettings
from training.engine import Engine, World, deepspeed_config, make_engine

SETTINGS = OptimiserSettings(learning_rate=1e-2, beta1=0.5, beta2=0.9, weight_decay=0.01)
CASES = [("ddp", 0), ("deepspeed", 0), ("deepspeed", 1), ("deepspeed", 2)]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.SiLU(), nn.Conv2d(8, 5, 3), nn.Flatten(), nn.LazyLinear(1)).eval()


def built() -> nn.Module:
    module = network()
    module(torch.zeros(1, 3, 8, 8))
    return module


def pictures(step: int, count: int = 4) -> torch.Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(step))


def loss_with_r1(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A mean loss whose second part needs gradients of gradients, as R1 does."""
    x = x.clone().requires_grad_(True)
    score = module(x)
    (slope,) = torch.autograd.grad(score.sum(), x, create_graph=True)
    return (score - 1).square().mean() + slope.square().sum((1, 2, 3)).mean()


def run(engine: Engine, first: int, steps: int, micro_batches: int = 1) -> list[float]:
    losses = []
    for step in range(first, first + steps):
        for part in pictures(step).chunk(micro_batches):
            loss = loss_with_r1(engine.module, part)
            losses.append(float(loss.detach()))
            engine.backward(loss)
        assert torch.isfinite(engine.gradient_norm())
        engine.step(SETTINGS.learning_rate)
    return losses


def plain_torch(steps: int) -> nn.Module:
    module = built()
    optimiser = torch.optim.AdamW(
        module.parameters(), lr=1e-2, betas=(0.5, 0.9), eps=SETTINGS.epsilon, weight_decay=0.01, fused=True
    )
    for step in range(steps):
        optimiser.zero_grad()
        loss_with_r1(module, pictures(step)).backward()
        optimiser.step()
    return module


def assert_close(one: nn.Module, two: nn.Module, tolerance: float) -> None:
    for (name, a), b in zip(one.named_parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize(("name", "stage"), CASES)
def test_one_rank_equals_plain_torch(world: World, name: str, stage: int) -> None:
    engine = make_engine(name, built(), SETTINGS, world, stage=stage)
    run(engine, 0, 4)
    assert_close(engine.module, plain_torch(4), 1e-6)


@pytest.mark.parametrize(("name", "stage"), CASES)
def test_micro_batches_add_up_to_the_batch(world: World, name: str, stage: int) -> None:
    engine = make_engine(name, built(), SETTINGS, world, stage=stage, micro_batches=2)
    run(engine, 0, 3, micro_batches=2)
    assert_close(engine.module, plain_torch(3), 1e-5)


@pytest.mark.parametrize(("name", "stage"), CASES)
def test_the_state_moves_to_every_other_engine(world: World, name: str, stage: int) -> None:
    first = make_engine(name, built(), SETTINGS, world, stage=stage)
    run(first, 0, 3)
    weights, state = copy.deepcopy(first.module.state_dict()), first.state()
    assert float(state["step"]) == 3
    expected = run(first, 3, 3)
    for other, other_stage in CASES:
        module = built()
        module.load_state_dict(weights)
        engine = make_engine(other, module, SETTINGS, world, stage=other_stage)
        engine.load_state(state)
        assert run(engine, 3, 3) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("name", "stage"), CASES)
def test_the_gradient_norm_is_the_true_one(world: World, name: str, stage: int) -> None:
    module = built()
    loss_with_r1(module, pictures(0)).backward()
    true = torch.linalg.vector_norm(torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None]))
    engine = make_engine(name, built(), SETTINGS, world, stage=stage)
    engine.backward(loss_with_r1(engine.module, pictures(0)))
    assert float(engine.gradient_norm()) == pytest.approx(float(true), rel=1e-5)


@pytest.mark.parametrize(("name", "stage"), CASES)
def test_a_gradient_that_is_not_a_number_shows(world: World, name: str, stage: int) -> None:
    engine = make_engine(name, built(), SETTINGS, world, stage=stage)
    engine.backward((engine.module(pictures(0)) * 0).sqrt().sum())
    assert not torch.isfinite(engine.gradient_norm())


@pytest.mark.parametrize(("name", "stage"), CASES)
def test_channels_last_weights_train_too(world: World, name: str, stage: int) -> None:
    module = built().to(memory_format=torch.channels_last)
    engine = make_engine(name, module, SETTINGS, world, stage=stage)
    run(engine, 0, 3)
    assert_close(engine.module, plain_torch(3), 1e-5)
    kernel = dict(engine.module.named_parameters())["0.weight"]
    assert kernel.is_contiguous(memory_format=torch.channels_last) == (stage == 0)


def test_ranks_average_once_an_update_and_all_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a rank has no gradient of some of them: the others may have, and send as many numbers."""
    sent: list[torch.Tensor] = []

    def of_two_equal_ranks(flat: torch.Tensor) -> None:
        sent.append(flat.clone())
        flat.mul_(2)

    monkeypatch.setattr("torch.distributed.all_reduce", of_two_equal_ranks)
    module = nn.ModuleDict({"used": nn.Linear(2, 1), "unused": nn.Linear(3, 1)})
    ranks: Any = SimpleNamespace(size=2, device=torch.device("cpu"))
    engine = make_engine("ddp", module, SETTINGS, ranks, micro_batches=2)
    for value in (1.0, 3.0):
        assert sent == []
        engine.backward(module["used"](torch.full((1, 2), value)).sum())
    assert [len(flat) for flat in sent] == [sum(p.numel() for p in module.parameters())]
    gradients = {name: parameter.grad for name, parameter in module.named_parameters()}
    assert gradients["used.weight"] is not None
    assert gradients["used.weight"].tolist() == [[2.0, 2.0]]
    assert gradients["unused.weight"] is not None
    assert gradients["unused.weight"].tolist() == [[0.0, 0.0, 0.0]]


def test_an_empty_state_and_a_foreign_one(world: World) -> None:
    engine = make_engine("ddp", built(), SETTINGS, world)
    assert engine.state() == {}
    engine.load_state({})
    with pytest.raises(SamaeError, match="another network"):
        engine.load_state({"step": torch.tensor(1.0), "other.exp_avg": torch.zeros(3)})


def test_clipping_is_off_and_stage_three_is_refused(world: World) -> None:
    for stage in (0, 1, 2):
        config = deepspeed_config(stage)
        assert config["gradient_clipping"] == 0.0
        assert config["zero_allow_untested_optimizer"] is True
        assert config["zero_optimization"]["stage"] == stage
        assert "bf16" not in config
    with pytest.raises(SamaeError, match="0, 1 or 2"):
        deepspeed_config(3)
    with pytest.raises(SamaeError, match="no engine is called 'horovod'"):
        make_engine("horovod", built(), SETTINGS, world)


TWO_RANKS = """
import json, sys
sys.path.insert(0, sys.argv[1])
import torch
from test_engine import SETTINGS, built, loss_with_r1, pictures
from training.engine import World, leave, make_engine
world = World("cpu")
figures = {}
for name, stage in (("ddp", 0), ("deepspeed", 0), ("deepspeed", 1), ("deepspeed", 2)):
    engine = make_engine(name, built(), SETTINGS, world, stage=stage)
    for step in range(4):
        half = pictures(step).chunk(2)[world.rank]
        engine.backward(loss_with_r1(engine.module, half))
        norm = float(engine.gradient_norm())
        engine.step(SETTINGS.learning_rate)
    state = engine.state()
    figures[f"{name}{stage}"] = {
        "norm": norm, "weights": [p.double().sum().item() for p in engine.module.parameters()],
        "moments": {k: v.double().abs().sum().item() for k, v in state.items()}}
if world.is_main:
    open(sys.argv[2], "w").write(json.dumps(figures))
leave(0)
"""


def test_two_ranks_equal_the_joined_batch(tmp_path: Path, world: World) -> None:
    script, out = tmp_path / "ranks.py", tmp_path / "figures.json"
    script.write_text(TWO_RANKS)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": "/nonexistent"}
    command += [str(Path(__file__).parent), str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    joined = make_engine("ddp", built(), SETTINGS, world)
    run(joined, 0, 4)
    weights = [p.double().sum().item() for p in joined.module.parameters()]
    moments = {k: v.double().abs().sum().item() for k, v in joined.state().items()}
    for figures in json.loads(out.read_text()).values():
        assert figures["weights"] == pytest.approx(weights, abs=2e-5)
        assert figures["moments"] == pytest.approx(moments, abs=2e-5)
        assert figures["norm"] == pytest.approx(json.loads(out.read_text())["ddp0"]["norm"], rel=1e-4)


LOST_RANK = """
import os, sys
from training.engine import RankLost, World
world = World("cpu", patience_s=60)
world.barrier()
if world.rank == 1:
    os._exit(0)
try:
    with world.noticing_lost_ranks():
        world.maximum(1.0)
except RankLost as error:
    open(sys.argv[1], "w").write(str(error))
os._exit(0)
"""


def test_a_rank_that_dies_is_one_sentence_for_the_others(tmp_path: Path) -> None:
    script, out = tmp_path / "ranks.py", tmp_path / "sentence.txt"
    script.write_text(LOST_RANK)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    subprocess.run([*command, str(out)], env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, timeout=300)
    assert out.read_text().startswith("rank 0 of 2 lost touch with another rank (")
    assert "\n" not in out.read_text()
