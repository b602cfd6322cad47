"""The command `train`, and how a command ends that a signal stopped."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from extract.commands import DeviceOption
from extract.errors import InputError
from mmssl.command_options import ProjectOption, refuse_idle, say


class TrainCommand(TyperCommand):
    """Tells an option from a setting where the one is written as the other."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As Typer does, but for what it says of a setting that is written as an option, and back.

        Raises:
            InputError: there is no such option, or a setting's name is an option's.
        """
        given = list(args)
        try:
            rest = super().parse_args(ctx, args)
        except typer.TyperException as error:
            # Typer keeps the class of an unknown option to itself.
            if not hasattr(error, "possibilities"):
                raise
            told = f"{error.format_message()}; settings are written KEY=VALUE, without dashes"
            near = _setting_like(str(getattr(error, "option_name", "")), given)
            raise InputError(f"{told}; {near}") from None
        options = {param.name: param for param in self.params if param.opts[0].startswith("-")}
        for text in ctx.params.get("settings") or ():
            key, equals, value = text.partition("=")
            option = options.get(key.replace("-", "_"))
            if equals and option is not None:
                name = option.opts[0]
                flag = getattr(option, "is_flag", False)
                example = name if flag else f"{name} {shlex.quote(value)}"
                raise InputError(f"'{text}': no setting but the option {name}; write {example}")
        return rest


def _setting_like(option: str, arguments: list[str]) -> str:
    """What is said of the settings of the model that is trained, to who took one for an option."""
    from mmssl.models import DEFAULT_MODEL, MODELS, config_class
    from mmssl.settings import nearest_setting

    models = [text.removeprefix("model=") for text in arguments if text.startswith("model=")]
    model = models[-1] if models and models[-1] in MODELS else DEFAULT_MODEL
    name = option.lstrip("-").replace("-", "_")
    return nearest_setting(name.split("."), config_class(model, "settings"))


class _StoppedError(InputError):
    """A signal ended the command."""


@contextmanager
def exits_when_stopped() -> Iterator[None]:
    """A signal during training becomes one line and the shell's exit code for that signal."""
    from mmssl.training.signals import TrainingInterrupted

    try:
        yield
    except TrainingInterrupted as stop:
        ended = _StoppedError(str(stop))
        ended.exit_code = 128 + stop.signal_number
        raise ended from None


def train(
    settings: Annotated[
        list[str] | None,
        typer.Argument(help="Settings over the configuration file's: key.sub=value ..."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="YAML configuration. Default, as shipped: quickstart.yaml, or model=NAME's preset."
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="The dataset. Default: the project's data/.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The run's folder. Default: a new one in runs/, or the last if that is unfinished"
            " and the same."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Start anew where --out holds a run.")] = False,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the resolved configuration and stop.")
    ] = False,
    project: ProjectOption = None,
    device: DeviceOption = "auto",
    save_minutes: Annotated[
        float, typer.Option(help="Within an epoch, save once the last checkpoint is older.")
    ] = 10.0,
    profile: Annotated[
        bool,
        typer.Option(
            "--profile",
            help="Tell at the end, and in profile.json, where the time went: drawing batches,"
            " forward, critic, losses, backward, optimiser, graph refresh, evaluation, checkpoint.",
        ),
    ] = False,
    tracker: Annotated[
        list[str] | None,
        typer.Option(
            help="Follow the run with tensorboard, mlflow, wandb or trackio; repeatable. All but"
            " wandb (unless WANDB_MODE=offline) write into the run folder, unless their own"
            " variables say else."
        ),
    ] = None,
) -> None:
    """Train MMSSL; the epoch is chosen on validation. An unfinished run in --out goes on.

    Ctrl-C and SIGTERM end the step, save, and exit with 130 and 143; a second one does not wait.
    """
    from mmssl.config import TrainingConfig
    from mmssl.models import preset_of
    from mmssl.settings import shipped

    chosen = config or shipped(preset_of(settings or []))
    resolved = TrainingConfig.load(chosen, settings or [])
    if print_config:
        print(resolved.to_yaml(), end="")
        return
    from mmssl.project import Project
    from mmssl.training.run_folder import goes_on
    from mmssl.training.trainer import train

    refuse_idle(project, named=data is not None and out is not None)
    if data is None:
        data = Project.find(project).data
        print(f"dataset: {data}")
    dataset = data
    out = out or Project.find(project).next_run(
        chosen.stem, lambda run: goes_on(run, resolved, dataset)
    )
    with exits_when_stopped():
        result = train(
            resolved,
            data,
            out,
            device=device,
            overwrite=overwrite,
            save_minutes=save_minutes,
            profile=profile,
            trackers=tracker or (),
            report=say,
        )
    print("\n".join(result.lines()))
