"""Errors that are meant for people: the front door prints them as one line, without a traceback."""


class InputError(Exception):
    """Something a person gave us cannot be used; the message says what, where and what to do.

    The command line prints it as one line and exits with code 2. Raise it for wrong options, files
    that are missing or broken, unknown names and missing extras - never for a fault of our own.
    """

    exit_code = 2


class TooManyErrors(InputError):  # noqa: N818 - named after the option --max-errors
    """More items failed than ``--max-errors`` allows; the command line exits with code 3."""

    exit_code = 3


def missing_extra(extra: str, needed_by: str) -> InputError:
    """The error for an optional library that is not installed: names the extra to install."""
    return InputError(
        f"{needed_by} needs the extra '{extra}': run  pip install 'mmssl-toolkit[{extra}]'"
    )


def nearest(name: str, valid: "list[str] | tuple[str, ...]") -> str:
    """``" (did you mean 'x'?)"`` for the closest valid name, or all of them when none is close."""
    import difflib

    close = difflib.get_close_matches(name, valid, n=1)
    return f" (did you mean '{close[0]}'?)" if close else f" (valid: {', '.join(sorted(valid))})"
