"""Errors that are meant for people: the front door prints them as one line, without a traceback."""

from collections.abc import Sequence
from importlib.util import find_spec


class InputError(Exception):
    """Something a person gave us cannot be used; the message says what, where and what to do.

    The command line prints it as one line and exits with code 2. Raise it for wrong options, files
    that are missing or broken, unknown names and missing extras - never for a fault of our own.
    """

    exit_code = 2


class ExtractionInterrupted(KeyboardInterrupt):
    """Ctrl-C during an extraction; the message says what is kept and how to go on.

    A ``KeyboardInterrupt``, so that an interrupted notebook cell or script ends as usual.
    """


class TooManyErrors(InputError):  # noqa: N818 - named after the option --max-errors
    """More items failed than ``--max-errors`` allows; the command line exits with code 3."""

    exit_code = 3


def missing_extra(extra: str, needed_by: str) -> InputError:
    """The error for an optional library that is not installed: names the extra to install."""
    return InputError(
        f"{needed_by} needs the extra '{extra}': run  pip install 'mmssl-toolkit[{extra}]'"
    )


def require_extra(extra: str, needed_by: str, *modules: str) -> None:
    """Say that an extra is missing before any work is done, not after.

    Args:
        extra: its name.
        needed_by: what needs it.
        modules: top-level modules that it installs.

    Raises:
        InputError: one of them is not installed.
    """
    if any(find_spec(module) is None for module in modules):
        raise missing_extra(extra, needed_by)


_SHOWN = 10


def did_you_mean(name: str, valid: Sequence[str], likeness: float = 0.6) -> str:
    """``" (did you mean 'x'?)"`` for the closest valid name; empty where none is close.

    Args:
        name: what was written.
        valid: what could have been.
        likeness: how close is close, from 0, anything, to 1, the same.
    """
    import difflib

    close = difflib.get_close_matches(name, valid, n=1, cutoff=likeness)
    return f" (did you mean '{close[0]}'?)" if close else ""


def nearest(name: str, valid: "list[str] | tuple[str, ...]", see_all: str = "") -> str:
    """``" (did you mean 'x'?)"`` for the closest valid name, or the valid ones when none is close.

    Of many only the first ten are named; ``see_all`` is the command that lists all of them.
    """
    if close := did_you_mean(name, valid):
        return close
    names = sorted(valid)
    if len(names) > _SHOWN + 2:
        see = f"; see all: {see_all}" if see_all else ""
        return f" (valid: {', '.join(names[:_SHOWN])} and {len(names) - _SHOWN} more{see})"
    return f" (valid: {', '.join(names)})"
