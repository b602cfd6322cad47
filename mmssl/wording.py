"""Words of messages that depend on a number."""


def counted(number: int, noun: str) -> str:
    """A number and its noun: ``1 user``, ``1,200 users``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
