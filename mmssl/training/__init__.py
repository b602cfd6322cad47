"""The trainer, its checkpoints and early stopping."""
