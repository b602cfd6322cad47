"""The front door: a command parses its options, calls one function, prints the result."""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from extract.errors import InputError

app = typer.Typer(
    name="mmssl",
    help="Multi-modal recommendation, from raw media to recommendations.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


def fail(message: str, exit_code: int = 2) -> NoReturn:
    """Print one line on standard error and leave."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(exit_code)


def run(application: typer.Typer, arguments: list[str]) -> NoReturn:
    """Run a command line; whatever a person can mend is one line and exit code 2."""
    try:
        result = application(args=arguments, standalone_mode=False)
    except InputError as error:
        fail(str(error), error.exit_code)
    except typer.TyperException as error:
        fail(error.format_message())
    except (typer.Abort, KeyboardInterrupt):
        result = 130
    if result == 130:
        fail("interrupted", 130)
    raise SystemExit(result if isinstance(result, int) else 0)


def main() -> None:
    """The console script."""
    run(app, sys.argv[1:] or ["--help"])


if __name__ == "__main__":
    main()
