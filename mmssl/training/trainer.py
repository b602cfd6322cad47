"""Training: what is trained, where, and what may interrupt it."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from extract.errors import InputError
from mmssl.config import TrainingConfig
from mmssl.data.dataset import Dataset, ModalityFeatures
from mmssl.processes import Processes
from mmssl.training.accelerator import make_accelerator
from mmssl.training.learner import Learner, TrainingDivergedError
from mmssl.training.profile import Profile
from mmssl.training.result import TrainingResult
from mmssl.training.run import OnEpoch, Run
from mmssl.training.run_folder import RunFolder
from mmssl.training.signals import StopSignals
from mmssl.training.tracking import check_trackers, tracking


def train(
    config: TrainingConfig,
    data: Path | str | Dataset,
    out: Path | str,
    *,
    device: str = "auto",
    overwrite: bool = False,
    save_minutes: float = 10.0,
    profile: bool = False,
    trackers: Sequence[str] = (),
    report: Callable[[str], None] | None = None,
    on_epoch: OnEpoch | None = None,
) -> TrainingResult:
    """Train, choose the epoch on validation, and write the run folder.

    An unfinished run of the same configuration and dataset at ``out`` goes on from its last
    checkpoint, on a CPU to the same bits as if it had never stopped. The test split is never read.

    In the main thread SIGINT (Ctrl-C, a notebook's stop button) and SIGTERM let the step in
    progress end and a checkpoint be saved, and then raise ``TrainingInterrupted``, a
    ``KeyboardInterrupt``; while an epoch is evaluated or its graphs are rebuilt, that is at the
    epoch's end. A second signal does not wait, and neither does one before the first step or while
    the finished model is written: then the last checkpoint is what training goes on from. A
    checkpoint being written is always completed.

    Under ``torchrun`` or ``accelerate launch`` the processes share the run: same result, the losses
    of one process but for rounding (and the critic's dropout, which is each process's own). The
    main process writes and reports; all of them need to reach ``data`` and ``out``.

    Args:
        config: the whole run.
        data: a dataset, or the folder of one.
        out: the run folder.
        device: ``auto``, ``cpu``, ``cuda:N`` or ``mps``.
        overwrite: start anew where ``out`` holds a run.
        save_minutes: a checkpoint is saved at each epoch's end, and within an epoch once the last
            one is older than this.
        profile: report at the end where the time went, and write it to profile.json.
        trackers: which of ``mmssl.training.tracking.TRACKERS`` are to follow the run.
        report: called with one line of progress an epoch.
        on_epoch: called by the main process with each epoch's number and validation metrics, once
            all is saved; where training goes on, first with those of the epochs before. What it
            raises ends training, which can go on later.

    Raises:
        InputError: a dataset or folder that can't be used; TrainingDivergedError with what to
            lower when the objective is no longer finite.
        TrainingInterrupted: a signal came.
    """
    if not save_minutes > 0:
        raise InputError(f"save_minutes {save_minutes}: the time between checkpoints is above 0")
    check_trackers(trackers)
    folder = RunFolder(Path(out))
    # Of several processes the main one alone holds the folder and follows the run.
    with StopSignals() as signals, ExitStack() as held:
        accelerator = make_accelerator(device, config.mixed_precision, trackers, folder.trackers)
        processes = Processes.of(accelerator)
        agree, on_main = processes.agree, processes.on_main
        dataset = data if isinstance(data, Dataset) else agree(Dataset.open, data)
        if not len(dataset.val):
            raise InputError(
                f"{dataset.path}: no validation interactions, so no epoch can be chosen;"
                " prepare the dataset with a validation split"
            )
        features = _select(dataset, config.modalities)
        on_main(held.enter_context, folder.claim(config, dataset.digest, overwrite))
        found = agree(folder.check, config, dataset.digest, overwrite)
        clock = Profile(accelerator.device, enabled=profile and processes.is_main)
        learner = Learner(config, dataset.matrix("train"), features, accelerator, clock)
        run = Run(config, dataset, folder, learner, clock, signals, save_minutes, report, on_epoch)
        if found == "resume":
            run.resume()
        else:
            # Everything that can be refused has been: now an older run may be deleted.
            on_main(folder.begin, config, dataset.digest)
            run.start()
        epoch = run.progress.epoch
        follow = tracking(accelerator, folder.trackers, folder.path.name, config, epoch)
        try:
            on_main(held.enter_context, follow)
            with signals.deferred():
                while not run.ended():
                    run.train_epoch()
            return run.finish()
        except TrainingDivergedError as error:
            epoch = run.progress.epoch + 1
            raise TrainingDivergedError(f"{out}: epoch {epoch}: {error}") from None
        finally:
            run.write_profile()


def _select(dataset: Dataset, wanted: tuple[str, ...] | None) -> dict[str, ModalityFeatures]:
    if wanted == ():
        return {}
    if not dataset.features:
        raise InputError(f"{dataset.path}: no features; prepare it with --features MODALITY=PATH")
    for modality in wanted or ():
        if modality not in dataset.features:
            raise InputError(
                f"features.modalities: the dataset has no '{modality}'"
                f" (it has: {', '.join(dataset.features)})"
            )
    return {m: dataset.features[m] for m in wanted or dataset.features}
