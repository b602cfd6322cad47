"""What learns: the model, its optimisers and random draws - one step of them, and their state."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

import scipy.sparse as sp
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from extract.errors import InputError
from mmssl.config import LearnedConfig, TrainingConfig
from mmssl.data.dataset import ModalityFeatures
from mmssl.data.sampling import Batch
from mmssl.models import build_model
from mmssl.optimisers import AdamW
from mmssl.processes import Processes
from mmssl.training.checkpoint import flatten_optimiser, restore_optimiser
from mmssl.training.diagnostics import parameter_gradient_norms, part_gradient_norms
from mmssl.training.lazy import LazyAdamW
from mmssl.training.profile import Profile
from mmssl.training.schedule import clip, make_schedule


class TrainingDivergedError(InputError):
    """A part of the objective became NaN or infinite; the message says what to lower."""


class Learner:
    """The model with everything that changes while it learns."""

    def __init__(
        self,
        config: TrainingConfig,
        observed: sp.csr_array,
        features: Mapping[str, ModalityFeatures],
        accelerator: Accelerator,
        profile: Profile | None = None,
    ) -> None:
        """Build model, sampler and optimisers from the configuration's seed.

        Args:
            config: the run's configuration.
            observed: (U, I) training interactions.
            features: raw embeddings by modality.
            accelerator: device, precision and processes.
            profile: counts the time of a step's parts; nothing does when left out.

        Raises:
            InputError: what cannot be trained, or cannot in several processes.
        """
        self.accelerator = accelerator
        self.processes = Processes.of(accelerator)
        self._profile = profile or Profile(accelerator.device, enabled=False)
        torch.manual_seed(config.seed)
        self._draws = torch.Generator().manual_seed(config.seed)
        self.model = build_model(
            config,
            observed,
            features,
            self._draws,
            device=accelerator.device,
            processes=self.processes,
        )
        self.sampler = self.model.sampler(observed)
        self.model.check_batches(self.sampler.batch_size, self.processes.count)
        critic = self.model.critic
        for within in ("critic", "losses"):
            self._profile.watch(self.model, "forward", within)
        if critic is not None:
            self._profile.watch(critic, "critic", "losses")
        of_critic = set(critic.parameters()) if critic else set()
        self._parameters = [p for p in self.model.parameters() if p not in of_critic]
        self._optimiser: Any = None
        self._table_optimiser: Any = None
        self._critic_optimiser: Any = None
        self._schedules: list[Any] = []
        self._clip_norm: float | None = None
        if isinstance(config, LearnedConfig):
            self._make_optimisers(config)

    def _make_optimisers(self, config: LearnedConfig) -> None:
        rate, decay = config.optimiser.learning_rate, config.optimiser.weight_decay
        prepare = self.accelerator.prepare
        tables = self.model.lazy_tables()
        others = [p for p in self._parameters if all(p is not table for table in tables)]
        self._optimiser = prepare(AdamW(others, lr=rate, weight_decay=decay))
        if tables:
            self._table_optimiser = prepare(LazyAdamW(tables, lr=rate, weight_decay=decay))
        self._clip_norm = config.optimiser.clip_norm
        steps = len(self.sampler)
        self._schedules = [
            make_schedule(optimiser.optimizer, config.optimiser, steps)
            for optimiser in self._of_model()
        ]
        if self.model.critic is not None:
            self._critic_optimiser = prepare(self.model.critic_optimiser())

    # --- steps -------------------------------------------------------------------------------

    def step(self, batch: Batch, norms: dict[str, Any] | None = None) -> dict[str, float]:
        """One step of the critic, then one of everything else.

        Args:
            batch: the users and items of the step.
            norms: filled with gradient norms when given: ``parts`` (of each part of the objective,
                over all parameters but the critic's), ``parameters`` and ``critic`` (by name).

        Returns:
            The value of every part, weights included, over all processes.

        Raises:
            TrainingDivergedError: a part is not finite.
        """
        values: dict[str, float] = {}
        critic, section = self.model.critic, self._profile.section
        if critic is not None:
            with self.accelerator.autocast(), section("critic"):
                critic_parts = self.model.critic_losses(batch)
            values |= self._backward(critic_parts, critic.parameters())
            with section("optimiser"):
                self._critic_optimiser.step()
            if norms is not None:
                norms["critic"] = parameter_gradient_norms(critic)
            critic.zero_grad()
            critic.requires_grad_(False)
        with self.accelerator.autocast(), section("losses"):
            parts = self.model.losses(batch)
        if norms is not None:
            norms["parts"] = part_gradient_norms(
                parts, self._parameters, self.processes.add_gradients
            )
        values |= self._backward(parts, self._parameters)
        with section("optimiser"):
            self._descend()
        if critic is not None:
            critic.requires_grad_(True)
        if norms is not None:
            norms["parameters"] = {
                name: norm
                for name, norm in parameter_gradient_norms(self.model).items()
                if not name.startswith("critic.")
            }
        for optimiser in self._of_model():
            optimiser.zero_grad()
        return values

    def _descend(self) -> None:
        """The step of everything but the critic."""
        if self._clip_norm is not None:
            for optimiser in self._of_model():
                # Under fp16 gradients are scaled until here.
                self.accelerator.unscale_gradients(optimiser)
            clip(self._parameters, self._clip_norm)
        for optimiser, schedule in zip(self._of_model(), self._schedules, strict=True):
            optimiser.step()
            # Under fp16 a step whose gradients overflowed is left out; the schedule waits for it.
            if not optimiser.step_was_skipped:
                schedule.step()

    def _of_model(self) -> list[Any]:
        """The optimisers of everything but the critic."""
        return [o for o in (self._optimiser, self._table_optimiser) if o is not None]

    def _backward(
        self, parts: Mapping[str, Tensor], parameters: Iterable[nn.Parameter]
    ) -> dict[str, float]:
        """Values and gradients of one objective, over all processes."""
        stacked = torch.stack(list(parts.values()))
        # Known to all before the backward pass: what is not finite ends every process here.
        totals = self.processes.add(stacked.detach().clone())
        values = dict(zip(parts, totals.tolist(), strict=True))
        broken = [name for name, value in values.items() if not math.isfinite(value)]
        if broken:
            self.diverged(
                ", ".join(f"{name} is {values[name]}" for name in broken),
                [self.model.what_to_lower.get(name, "optimiser.learning_rate") for name in broken],
            )
        with self._profile.section("backward"):
            self.accelerator.backward(stacked.sum())
            self.processes.add_gradients(p.grad for p in parameters)
        return values

    @property
    def learning_rate(self) -> float:
        """The rate of the model's next step; 0 where there is nothing to learn."""
        if self._optimiser is None:
            return 0.0
        return float(self._optimiser.param_groups[0]["lr"])

    def diverged(self, what: str, otherwise: Iterable[str]) -> NoReturn:
        """Say what to lower: the rate of whichever side has blown up, else ``otherwise``."""
        critic = self.model.critic
        if critic is not None and _blown_up(critic.parameters()):
            lower = ["adversarial.critic_learning_rate"]
        elif _blown_up(self._parameters):
            lower = ["optimiser.learning_rate"]
        else:
            lower = list(dict.fromkeys(otherwise))
        raise TrainingDivergedError(f"training diverged: {what}; lower {' and '.join(lower)}")

    # --- state -------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors (live ones) and JSON facts from which training goes on as if never stopped."""
        tensors = self.model.scoring_tensors()
        own, facts = self.model.training_state()
        tensors |= own
        tensors |= {f"sampler/{name}": tensor for name, tensor in self.sampler.state().items()}
        tensors["rng/draws"] = self._draws.get_state()
        tensors["rng/torch"] = torch.get_rng_state()
        if self.accelerator.device.type == "cuda":
            tensors["rng/cuda"] = torch.cuda.get_rng_state(self.accelerator.device)
        if self.accelerator.device.type == "mps":
            tensors["rng/mps"] = torch.mps.get_rng_state()
        if self.accelerator.scaler is not None:
            facts["loss_scale"] = self.accelerator.scaler.state_dict()
        for name, optimiser in self._optimisers():
            state, facts[name] = flatten_optimiser(optimiser, f"{name}/")
            tensors |= state
        facts["schedules"] = [schedule.state_dict() for schedule in self._schedules]
        return tensors, facts

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """The inverse of ``state``."""
        self.model.load_scoring_tensors(tensors)
        for name, optimiser in self._optimisers():
            restore_optimiser(optimiser, f"{name}/", tensors, facts[name])
        for schedule, state in zip(self._schedules, facts["schedules"], strict=True):
            schedule.load_state_dict(dict(state))
        self.model.restore_training_state(tensors, facts)
        self.sampler.restore(
            {n.removeprefix("sampler/"): t for n, t in tensors.items() if n.startswith("sampler/")}
        )
        self._draws.set_state(tensors["rng/draws"])
        torch.set_rng_state(tensors["rng/torch"])
        if "rng/cuda" in tensors:
            torch.cuda.set_rng_state(tensors["rng/cuda"], self.accelerator.device)
        if "rng/mps" in tensors:
            torch.mps.set_rng_state(tensors["rng/mps"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(facts["loss_scale"])

    def _optimisers(self) -> Iterator[tuple[str, Any]]:
        # What accelerate wraps around an optimiser keeps nothing of its own.
        if self._optimiser is not None:
            yield "optimiser", self._optimiser.optimizer
        if self._table_optimiser is not None:
            yield "table_optimiser", self._table_optimiser.optimizer
        if self._critic_optimiser is not None:
            yield "critic_optimiser", self._critic_optimiser.optimizer


def _blown_up(parameters: Iterable[Tensor]) -> bool:
    # No weight of a working model comes near 1e15; comparisons with NaN are false.
    return not all(bool((p.detach().abs() < 1e15).all()) for p in parameters)
