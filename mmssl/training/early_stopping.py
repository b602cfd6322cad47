"""When to stop: the validation metric has not risen for a number of evaluations."""

from dataclasses import dataclass


@dataclass
class EarlyStopping:
    """Remembers the best epoch; larger metric values are better, the earliest of equals wins."""

    patience: int
    best_value: float | None = None
    best_epoch: int = 0
    evaluations_since: int = 0

    def update(self, epoch: int, value: float) -> bool:
        """Take in an epoch's metric; True when it is the best so far."""
        if self.best_value is None or value > self.best_value:
            self.best_value, self.best_epoch, self.evaluations_since = value, epoch, 0
            return True
        self.evaluations_since += 1
        return False

    @property
    def should_stop(self) -> bool:
        """Whether patience has run out."""
        return self.evaluations_since >= self.patience
