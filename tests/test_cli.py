import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

import cli

ROOT = Path(__file__).parent.parent
# The front door may import these; what a command needs beyond them it imports itself.
HEAVY = {
    "accelerate",
    "numpy",
    "pandas",
    "PIL",
    "polars",
    "pyarrow",
    "sentence_transformers",
    "scipy",
    "sklearn",
    "soundfile",
    "timm",
    "torch",
    "torchaudio",
    "torchvision",
    "transformers",
}


def run_cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )


def in_process(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command line."""
    with pytest.raises(SystemExit) as stop:
        cli.run(cli.app, list(arguments))
    printed = capsys.readouterr()
    return int(stop.value.code or 0), printed.out, printed.err


def leaf_commands() -> list[list[str]]:
    def walk(command, path):
        children = getattr(command, "commands", None)
        if not children:
            yield path
            return
        yield path
        for name, child in children.items():
            yield from walk(child, [*path, name])

    return list(walk(typer.main.get_command(cli.app), []))


def test_help_imports_nothing_heavy():
    # Seconds differ from machine to machine; what costs them is these imports.
    program = (
        "import sys, cli\n"
        "try: cli.run(cli.app, ['--help'])\n"
        "except SystemExit as stop: assert not stop.code\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", leaf_commands(), ids=" ".join)
def test_every_command_explains_itself(command, capsys):
    code, out, err = in_process(capsys, *command, "--help")
    assert code == 0
    assert "Usage:" in out
    assert err == ""


def test_no_command_at_all_prints_the_help():
    done = run_cli()
    assert done.returncode == 0
    assert "Usage:" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["extrakt"], "extrakt"),
        (["train", "--confg", "x.yaml"], "--confg"),
        (["train", "--device"], "error: Option '--device' requires an argument"),
        (["recommend"], "--out"),
        (["evaluate", "--split", "training"], "'--split': 'training' is not one of 'val', 'test'"),
        (["recommend", "--out", "x.csv", "--top-k", "many"], "--top-k"),
        (["prepare", "--features", "image"], "NAME=PATH"),
        (["train", "--project", "no/such/folder"], "no/such/folder"),
    ],
)
def test_what_was_typed_wrong_is_one_line_and_exit_code_2(arguments, says, capsys):
    code, out, err = in_process(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert says in err


def test_the_program_itself_ends_with_code_2_and_no_traceback():
    done = run_cli("train", "--project", "no/such/folder")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_an_interruption_ends_with_130(monkeypatch, capsys):
    def interrupted(**options):
        raise KeyboardInterrupt

    application = typer.Typer(pretty_exceptions_enable=False)
    application.command()(lambda: interrupted())
    with pytest.raises(SystemExit) as stop:
        cli.run(application, [])
    assert stop.value.code == 130
    assert capsys.readouterr().err == "error: interrupted\n"


@pytest.mark.parametrize("module", ["typer", "extract.errors", "mmssl.tuning.command"])
def test_an_interruption_while_the_program_loads_ends_with_130(module):
    program = (
        "import runpy, sys\n"
        "class CtrlC:\n"
        "    def find_spec(name, *others):\n"
        f"        if name == {module!r}: raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, CtrlC)\n"
        "runpy.run_path('cli.py', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert (done.returncode, done.stderr) == (130, "error: interrupted\n")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        ("PermissionError(13, 'Permission denied', 'items.csv')", "items.csv: Permission denied"),
        ("OSError(28, 'No space left on device')", "No space left on device"),
        ("OSError('odd\\nwords')", "odd words"),
        ("MemoryError()", "out of memory; a smaller batch or table"),
        (
            "RuntimeError('[enforce fail] DefaultCPUAllocator: not enough memory')",
            "out of memory; a smaller model or batch",
        ),
    ],
)
def test_what_the_system_refuses_is_one_line(error, says):
    program = (
        "import cli, typer\n"
        "application = typer.Typer(pretty_exceptions_enable=False)\n"
        "@application.command()\n"
        f"def command(): raise {error}\n"
        "cli.run(application, [])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {says}")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_output_that_cannot_be_written_is_one_line():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "cli.py", "--help"], stdout=full, stderr=subprocess.PIPE, cwd=ROOT
        )
    assert (done.returncode, done.stderr) == (2, b"error: No space left on device\n")


def test_a_reader_that_has_seen_enough_ends_the_program_quietly():
    program = subprocess.Popen(
        [sys.executable, "cli.py", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    program.stdout.close()
    assert program.stderr.read() == b""
    assert program.wait(timeout=60) == 1
    program.stderr.close()
