"""The engines: gradients averaged over ranks and an optimiser's step, by DeepSpeed or by plain torch, one interface.

The only module that imports deepspeed (lazily; it takes 2.4 s). What DeepSpeed 0.19 needs, all observed:
- `gradient_clipping` is written as 0.0 in infra/deepspeed/zero{0,1,2}.json: its default 1.0 harms adversarial training.
- Forwards call the bare module. R1 goes through torch.autograd.grad, which fails through a wrapper; `backward` and
  `step` alone are the engine's. Freezing the discriminator in the generator's step works with two engines.
- The parameters are float32 masters and no "bf16" section is set: bfloat16 comes from torch.autocast in the method, on
  the CPU as on the GPU. Client torch optimisers need `zero_allow_untested_optimizer`.
- It broadcasts the weights as bytes, which fails for channels_last ones: they are made contiguous for the start and
  channels_last again after it at stage 0 (from stage 1 on the weights are views of one flat buffer).
- The shared-memory op for the CPU would be compiled with g++ at the start; it is declared incompatible, gloo serves.
- Its own checkpoints are pickles bound to a rank count. Here the optimiser's state is gathered by parameter name into
  plain tensors, which another rank count, another stage or the plain engine can load.

The plain engine ("ddp") averages all gradients in one flat all-reduce after backward, in place of
DistributedDataParallel, whose reducer must own the forward (ours).
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib import resources
from typing import Any, NoReturn, Protocol

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed import distributed_c10d

from faces.errors import SamaeError
from training.config import OptimiserSettings

#: What AdamW keeps a parameter, besides the count of steps.
MOMENTS = ("exp_avg", "exp_avg_sq")
#: A collective that waits longer than this fails, seconds: a rank is gone (train.patience_s).
PATIENCE_S = 1200.0


class RankLost(SamaeError):
    """A collective failed: another rank died, or its host was cut off. The next start goes on."""


class World:
    """The processes of a run. One process needs no launcher; more come from torchrun's environment.

    Attributes:
        rank, size, local_rank: of torchrun; 0, 1, 0 alone.
        device: this rank's.
        patience_s: how long a collective waits for the other ranks before it fails, seconds.
    """

    def __init__(self, device: str = "auto", patience_s: float = PATIENCE_S) -> None:
        self.patience_s = patience_s
        self.rank = int(os.environ.get("RANK", "0"))
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(f"cuda:{self.local_rank}" if device == "cuda" else device)
        if self.device.type == "cuda":
            _require_gpu(self.local_rank)
            torch.cuda.set_device(self.device)
        if not dist.is_initialized():
            backend = "nccl" if self.device.type == "cuda" else "gloo"
            store = dist.HashStore() if self.size == 1 else None
            # As the default too: DeepSpeed makes groups of its own, which would wait torch's 30 minutes.
            patience = timedelta(seconds=patience_s)
            distributed_c10d.default_pg_timeout = distributed_c10d.default_pg_nccl_timeout = patience
            dist.init_process_group(backend, store=store, rank=self.rank, world_size=self.size, timeout=patience)

    @property
    def is_main(self) -> bool:
        """True on the rank that writes, tracks and reports."""
        return self.rank == 0

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """The same shape, averaged over ranks, on the CPU (waits for the device)."""
        values = values.detach().float().to(self.device)
        if self.size > 1:
            dist.all_reduce(values)
            values = values / self.size
        return values.cpu()

    def maximum(self, value: float) -> float:
        """The largest of every rank's value: a flag that one rank raises is seen by all."""
        if self.size == 1:
            return value
        tensor = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return float(tensor)

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.size > 1:
            dist.barrier()

    @contextmanager
    def noticing_lost_ranks(self) -> Iterator[None]:
        """Turn a collective's failure inside the block into RankLost (gloo's are RuntimeErrors that name it).

        NCCL's collectives fail beside the program: its watchdog ends the process (SIGABRT), which is no RankLost.
        """
        try:
            yield
        except RuntimeError as error:
            if self.size == 1 or not (isinstance(error, dist.DistError) or "gloo" in str(error)):
                raise
            reason = str(error).strip().split("\n")[0].rpartition("] ")[2]
            raise RankLost(
                f"rank {self.rank} of {self.size} lost touch with another rank ({reason[:160]}): look whether its host "
                "is alive and start again; the run goes on from its last checkpoint"
            ) from error

    def close(self) -> None:
        """Leave the group."""
        if dist.is_initialized():
            dist.destroy_process_group()


def _require_gpu(local_rank: int) -> None:
    count = torch.cuda.device_count()
    if local_rank >= count:
        raise SamaeError(
            f"rank {local_rank} of this host finds no GPU of its own: there are {count}; start as many ranks as GPUs "
            "(SAMAE_RANKS, slots= of a hostfile), or choose other GPUs with CUDA_VISIBLE_DEVICES"
        )


def leave(code: int) -> NoReturn:
    """End a rank's process now, its work being done and its files closed.

    Taking gloo's threads down, by `destroy_process_group` or at a normal exit, aborts the process now and then
    ("terminate called without an active exception"), and torchrun reports a failure of a run that had succeeded.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class Engine(Protocol):
    """One network and its optimiser. An update is `micro_batches` times backward, then one step."""

    module: nn.Module

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradient of one micro-batch's mean loss, weighted 1 / micro_batches."""
        ...

    def gradient_norm(self) -> torch.Tensor:
        """Scalar: norm of the averaged gradient after the last backward; not finite if any number of it is not."""
        ...

    def step(self, learning_rate: float) -> None:
        """Update the weights (the same on all ranks) and clear the gradients."""
        ...

    def state(self) -> dict[str, torch.Tensor]:
        """The optimiser's whole state as CPU tensors by parameter name. Every rank must call it."""
        ...

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Take over a state that `state` of any engine at any rank count gave."""
        ...


def make_engine(
    name: str,
    module: nn.Module,
    settings: OptimiserSettings,
    world: World,
    *,
    stage: int = 0,
    micro_batches: int = 1,
) -> Engine:
    """ "deepspeed" (with a ZeRO stage 0, 1 or 2) or "ddp" around a module that already has its weights."""
    named = {name: p for name, p in module.named_parameters() if p.requires_grad}
    optimiser = torch.optim.AdamW(
        list(named.values()),
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    if name == "ddp":
        return PlainEngine(module, named, optimiser, world, micro_batches)
    if name == "deepspeed":
        return DeepSpeedEngine(module, named, optimiser, world, stage, micro_batches)
    raise SamaeError(f"no engine is called {name!r}; train.engine is 'deepspeed' or 'ddp'")


class PlainEngine:
    """Plain torch: one flat all-reduce of the gradients a step."""

    def __init__(
        self,
        module: nn.Module,
        named: dict[str, nn.Parameter],
        optimiser: torch.optim.Optimizer,
        world: World,
        micro_batches: int,
    ) -> None:
        self.module, self._named, self._optimiser, self._world = module, named, optimiser, world
        self._micro_batches, self._done = micro_batches, 0

    def backward(self, loss: torch.Tensor) -> None:
        """See Engine."""
        (loss / self._micro_batches).backward()
        self._done += 1
        if self._done % self._micro_batches == 0 and self._world.size > 1:
            self._average()

    def _average(self) -> None:
        for parameter in self._named.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in self._named.values() if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in gradients])
        dist.all_reduce(flat)
        flat /= self._world.size
        for gradient, piece in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(piece.view(gradient.shape))

    def gradient_norm(self) -> torch.Tensor:
        """See Engine."""
        return _norm([p.grad for p in self._named.values() if p.grad is not None], self._world.device)

    def step(self, learning_rate: float) -> None:
        """See Engine."""
        _set_rate(self._optimiser, learning_rate)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)

    def state(self) -> dict[str, torch.Tensor]:
        """See Engine."""
        return _torch_state(self._named, self._optimiser)

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """See Engine."""
        _load_torch_state(self._named, self._optimiser, state)


class DeepSpeedEngine:
    """DeepSpeed around a client optimiser. Stage 0 keeps whole states, 1 and 2 a part of the state on each rank."""

    def __init__(
        self,
        module: nn.Module,
        named: dict[str, nn.Parameter],
        optimiser: torch.optim.Optimizer,
        world: World,
        stage: int,
        micro_batches: int,
    ) -> None:
        deepspeed = _import_deepspeed(world)
        config = deepspeed_config(stage) | {"gradient_accumulation_steps": micro_batches}
        is_channels_last = any(not parameter.is_contiguous() for parameter in module.parameters())
        module.to(memory_format=torch.contiguous_format)
        self._engine, *_ = deepspeed.initialize(
            model=module, optimizer=optimiser, model_parameters=list(named.values()), config=config
        )
        if is_channels_last and stage == 0:
            module.to(memory_format=torch.channels_last)
        self.module: nn.Module = self._engine.module
        self._named, self._optimiser, self._world, self._stage = named, optimiser, world, stage
        self._waiting = False

    def backward(self, loss: torch.Tensor) -> None:
        """See Engine. DeepSpeed counts micro-batches by its `step`, which does nothing before the last of them."""
        if self._waiting:
            self._engine.step()
        self._engine.backward(loss)
        self._waiting = True

    def gradient_norm(self) -> torch.Tensor:
        """See Engine. From stage 1 on a rank holds a part of the gradient, so the squares are summed over ranks."""
        if self._stage == 0:
            return _norm([p.grad for p in self._named.values() if p.grad is not None], self._world.device)
        mine = _norm(list(_tensors(self._engine.optimizer.averaged_gradients)), self._world.device).square()
        if self._world.size > 1:
            dist.all_reduce(mine)
        return mine.sqrt()

    def step(self, learning_rate: float) -> None:
        """See Engine."""
        _set_rate(self._optimiser, learning_rate)
        self._engine.step()
        self._waiting = False

    def state(self) -> dict[str, torch.Tensor]:
        """See Engine."""
        if self._stage == 0:
            return _torch_state(self._named, self._optimiser)
        steps = [entry["step"] for entry in self._optimiser.state.values() if "step" in entry]
        if not steps:
            return {}
        whole: dict[str, torch.Tensor] = {"step": steps[0].detach().cpu().clone()}
        for name, parameter in self._named.items():
            for moment in MOMENTS:
                whole[f"{name}.{moment}"] = parameter.get_full_hp_param(moment).detach().cpu().clone()  # type: ignore[operator]
        return whole

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """See Engine."""
        if self._stage == 0:
            _load_torch_state(self._named, self._optimiser, state)
            return
        if not state:
            return
        for group in self._optimiser.param_groups:
            for flat in group["params"]:
                moments = {moment: torch.zeros_like(flat) for moment in MOMENTS}
                self._optimiser.state[flat] = {"step": state["step"].clone().to(flat.device), **moments}
        self._engine.optimizer._lazy_init_hp_params_optimizer_state()
        for name, parameter in self._named.items():
            for moment in MOMENTS:
                value = _entry(state, f"{name}.{moment}").to(parameter.device)
                parameter.set_full_hp_param(value, moment)  # type: ignore[operator]


def deepspeed_config(stage: int) -> dict[str, Any]:
    """The contents of infra/deepspeed/zero<stage>.json; SamaeError for another stage (3 cannot train a GAN)."""
    if stage not in (0, 1, 2):
        raise SamaeError(f"train.zero_stage is {stage}; it may be 0, 1 or 2 (stage 3 does not work with two networks)")
    return json.loads((resources.files("infra") / "deepspeed" / f"zero{stage}.json").read_text(encoding="utf-8"))


def _import_deepspeed(world: World) -> Any:
    os.environ["DS_ACCELERATOR"] = "cuda" if world.device.type == "cuda" else "cpu"
    for name, value in (("RANK", world.rank), ("WORLD_SIZE", world.size), ("LOCAL_RANK", world.local_rank)):
        os.environ.setdefault(name, str(value))
    os.environ.setdefault("DEEPSPEED_LOG_LEVEL", "warning")
    import deepspeed
    from deepspeed.ops import __compatible_ops__

    __compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.logger.setLevel("WARNING")
    return deepspeed


def _norm(gradients: list[torch.Tensor], device: torch.device) -> torch.Tensor:
    if not gradients:
        return torch.zeros((), device=device)
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))


def _tensors(tree: Any) -> Iterator[torch.Tensor]:
    """Every tensor of nested dictionaries and lists."""
    if torch.is_tensor(tree):
        yield tree
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from _tensors(value)
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from _tensors(value)


def _set_rate(optimiser: torch.optim.Optimizer, learning_rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = learning_rate


def _torch_state(named: dict[str, nn.Parameter], optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    whole: dict[str, torch.Tensor] = {}
    for name, parameter in named.items():
        entry = optimiser.state.get(parameter)
        if entry:
            whole["step"] = entry["step"].detach().cpu().clone()
            for moment in MOMENTS:
                whole[f"{name}.{moment}"] = entry[moment].detach().cpu().clone(memory_format=torch.contiguous_format)
    return whole


def _load_torch_state(
    named: dict[str, nn.Parameter], optimiser: torch.optim.Optimizer, state: dict[str, torch.Tensor]
) -> None:
    if not state:
        return
    for name, parameter in named.items():
        moments = {}
        for moment in MOMENTS:
            moments[moment] = torch.zeros_like(parameter).copy_(_entry(state, f"{name}.{moment}"))
        optimiser.state[parameter] = {"step": state["step"].clone().to(parameter.device), **moments}


def _entry(state: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    if name not in state:
        raise SamaeError(f"the checkpoint has no optimiser state {name!r}: it belongs to another network")
    return state[name]
