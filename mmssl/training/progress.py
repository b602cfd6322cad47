"""How far a run is: whole epochs, and the part of one that has been done."""

from dataclasses import dataclass, field


@dataclass
class Progress:
    """What a checkpoint keeps of the loop itself; all of it plain numbers."""

    epoch: int = 0
    """Epochs that have ended."""
    seconds: float = 0.0
    """Of these epochs, without what checkpoints took."""
    step: int = 0
    """Steps done of the epoch that follows."""
    step_seconds: float = 0.0
    """Of these steps."""
    sums: dict[str, float] = field(default_factory=dict)
    """Of every part of the objective over these steps."""

    def end_step(self, parts: dict[str, float], seconds: float) -> None:
        """Count a step and add up its parts."""
        for name, value in parts.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.step += 1
        self.step_seconds += seconds

    def means(self) -> dict[str, float]:
        """The mean of every part over the steps done."""
        return {name: total / self.step for name, total in self.sums.items()}

    def end_epoch(self, seconds: float) -> None:
        """Count an epoch whose steps and evaluation took so long."""
        self.epoch += 1
        self.seconds += seconds
        self.step, self.step_seconds, self.sums = 0, 0.0, {}

    def __str__(self) -> str:
        if not self.step:
            return f"epoch {self.epoch}"
        return f"step {self.step} of epoch {self.epoch + 1}"
