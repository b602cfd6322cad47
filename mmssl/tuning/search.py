"""The trials of a search, kept in SQLite: what comes next, and what became of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.trial import FrozenTrial, Trial, TrialState

from extract.errors import InputError
from mmssl.config import TrainingConfig
from mmssl.tuning.plan import Choices, FloatRange, IntegerRange, Range, TuningPlan

_NUMBER = "number"


@dataclass(frozen=True)
class Asked:
    """A trial to be run."""

    number: int
    """From 0, without gaps: a trial that a kill cut off is asked for again under its number."""
    trial: Trial
    values: dict[str, Any]
    """``key.sub`` -> value."""


class Search:
    """A search that several processes may work on.

    The n-th trial's values are a function of the plan's seed, n, and the trials that have ended, so
    that with one worker a search that was killed ends as one that was not.
    """

    def __init__(self, folder: Path, plan: TuningPlan, base: TrainingConfig, key: str) -> None:
        """Open the search in a folder, or begin one.

        Raises:
            InputError: what stands there is another search, or no search at all.
        """
        self._plan, self._base = plan, base
        self._lock = FileLock(folder / ".asking")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        file = folder / "trials.sqlite3"
        storage = f"sqlite:///{file}"
        try:
            # What several processes do at the beginning at once, they do one after the other.
            with self._lock:
                self._study = optuna.create_study(
                    storage=storage, study_name="search", direction="maximize", load_if_exists=True
                )
                before = self._study.user_attrs.get("key")
                if before is None:
                    self._study.set_user_attr("key", key)
        except Exception as error:
            # SQLAlchemy's many exceptions; what they say is what is wrong with the file.
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{file}: cannot be used as a search's storage ({reason})") from None
        if before not in (None, key):
            raise InputError(
                f"{folder}: holds a search with another plan, configuration or dataset; choose"
                " another --out, or --overwrite it"
            )
        if plan.pruning:
            pruner: optuna.pruners.BasePruner = optuna.pruners.MedianPruner(
                n_startup_trials=min(5, plan.random_trials), n_warmup_steps=3
            )
        else:
            pruner = optuna.pruners.NopPruner()
        self._study.pruner = pruner

    def give_up_broken_off(self) -> None:
        """Forget trials that a kill cut off; to be called when no worker is at work."""
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._study.tell(trial.number, state=TrialState.FAIL)
        for _ in self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            # One that waits must be taken up before it can be given up.
            self._study.tell(self._study.ask(), state=TrialState.FAIL)

    def ask(self) -> Asked | None:
        """The next trial, this process's to run; None when all are run or being run."""
        with self._lock:
            counted = {t.user_attrs.get(_NUMBER) for t in self._not_failed()}
            number = next(n for n in range(len(counted) + 1) if n not in counted)
            if number >= self._plan.trials:
                return None
            self._study.sampler = optuna.samplers.TPESampler(
                n_startup_trials=self._plan.random_trials,
                seed=self._plan.seed * 100_003 + number,
                constant_liar=True,
            )
            own = self._plan.own_values(self._base) if number == 0 else None
            if own is not None:
                space = self._plan.space
                self._study.enqueue_trial({k: _plain(space[k], value) for k, value in own.items()})
            trial = self._study.ask()
            trial.set_user_attr(_NUMBER, number)
        values = {key: _suggest(trial, key, found) for key, found in self._plan.space.items()}
        return Asked(number, trial, values)

    def tell(self, asked: Asked, value: float | None) -> None:
        """What a trial came to; None: it was pruned."""
        state = TrialState.PRUNED if value is None else TrialState.COMPLETE
        self._study.tell(asked.trial, value, state=state)

    def ended(self) -> list[FrozenTrial]:
        """Trials that are complete or pruned, by their numbers."""
        done = (TrialState.COMPLETE, TrialState.PRUNED)
        return sorted(
            (t for t in self._not_failed() if t.state in done), key=lambda t: t.user_attrs[_NUMBER]
        )

    def best(self) -> FrozenTrial | None:
        """The complete trial of the highest value, of equal ones the first; None: there is none."""
        complete = [t for t in self.ended() if t.state == TrialState.COMPLETE]
        return max(complete, key=lambda t: t.value or 0.0, default=None)

    def importances(self) -> dict[str, float]:
        """How much each setting decided (PED-ANOVA; Watanabe et al., IJCAI 2023), largest first.

        Empty where fewer than four trials are complete, or all came to the same.
        """
        values = {t.value for t in self.ended() if t.state == TrialState.COMPLETE}
        if len(values) < 4:
            return {}
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.25)
        found = optuna.importance.get_param_importances(self._study, evaluator=evaluator)
        return {key: float(share) for key, share in found.items()}

    def _not_failed(self) -> Iterable[FrozenTrial]:
        return [
            trial
            for trial in self._study.get_trials(deepcopy=False)
            if trial.state != TrialState.FAIL and _NUMBER in trial.user_attrs
        ]


def values_of(trial: FrozenTrial, plan: TuningPlan) -> dict[str, Any]:
    """The values of an ended trial, ``key.sub`` -> value."""
    values = {}
    for key, found in plan.space.items():
        kept = trial.params[key]
        values[key] = found.values[kept] if isinstance(found, Choices) else kept
    return values


def trial_number(trial: FrozenTrial) -> int:
    """The number under which a trial was asked for."""
    return int(trial.user_attrs[_NUMBER])


def _plain(found: Range, value: Any) -> Any:
    """What optuna keeps of a value: of choices the place, since it keeps plain values only."""
    return found.values.index(value) if isinstance(found, Choices) else value


def _suggest(trial: Trial, key: str, found: Range) -> Any:
    match found:
        case IntegerRange():
            return trial.suggest_int(key, found.low, found.high, log=found.log)
        case FloatRange():
            return trial.suggest_float(key, found.low, found.high, log=found.log)
        case Choices():
            place = trial.suggest_categorical(key, list(range(len(found.values))))
            return found.values[place]
