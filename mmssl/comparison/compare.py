"""``compare``: models times seeds on one dataset, run by run, and one table of all."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from extract.errors import InputError
from extract.files import write_text
from extract.tables import write_table
from mmssl.comparison.plan import ComparisonPlan
from mmssl.comparison.plot import plot_table
from mmssl.comparison.runs import Rows, runs_of
from mmssl.comparison.table import Table, build, markdown
from mmssl.data.dataset import Dataset
from mmssl.evaluation.evaluate import Split


@dataclass(frozen=True)
class ComparisonResult:
    """What a comparison came to; the same stands in its folder."""

    path: Path
    table: Table
    """On validation, or on the test split where that was read."""
    markdown: str
    test_reads: int
    """How often the test split in ``data`` was read so far."""
    data: Path
    """The dataset's folder; a copy of it counts its own readings."""

    def lines(self) -> list[str]:
        """The table for people."""
        return [
            *self.markdown.splitlines(),
            f"the test split in {self.data} was read {self.test_reads} time(s) so far",
            f"tables and plot: {self.path}",
        ]


def compare(
    plan_file: Path | str,
    data: Path | str,
    out: Path | str,
    *,
    test: bool = False,
    device: str = "auto",
    report: Callable[[str], None] = lambda _: None,
) -> ComparisonResult:
    """Train what is not trained yet, and put all into one table.

    What is finished is a row in ``out/rows`` and is not made again, also by another plan; a run
    that was stopped goes on from its checkpoint. The models stay in ``out/runs`` until the folder
    is removed: the test split needs them, or trains them anew.

    Args:
        plan_file: a YAML as ``mmssl.comparison.plan.ComparisonPlan`` describes it.
        data: the dataset.
        out: rows, runs, and ``table-<split>.csv``, ``.md``, ``.png``, ``groups-<split>.csv``.
        test: also measure all on the test split, which is read once for all of them and recorded in
            the dataset's ``test_reads.jsonl``; for when nothing is to be chosen any more.
        device: ``auto``, ``cpu``, ``cuda:N`` or ``mps``.
        report: called with lines of progress.

    Raises:
        InputError: a plan, dataset or folder that cannot be used; a run that cannot be trained.
        TrainingInterrupted: a signal came; the same call goes on.
    """
    plan_file, out = Path(plan_file), Path(out)
    plan = ComparisonPlan.load(plan_file)
    dataset = Dataset.open(data)
    if test and not dataset.manifest.counts.test:
        raise InputError(f"{dataset.path}: the test split is empty; leave --test out")
    lock = FileLock(out / ".lock", blocking=False)
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise InputError(f"{out}: another comparison is at work there; wait for its end") from None
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror})") from None
    try:
        return _compare(plan, plan_file, dataset, out, test, device, report)
    finally:
        lock.release()


def _compare(
    plan: ComparisonPlan,
    plan_file: Path,
    dataset: Dataset,
    out: Path,
    test: bool,
    device: str,
    report: Callable[[str], None],
) -> ComparisonResult:
    rows, runs = Rows(out, dataset, device), runs_of(plan, plan_file)
    for number, run in enumerate(runs, start=1):
        if rows.row(run) is None:
            report(f"run {number} of {len(runs)}: {run.name}, seed {run.seed}")
            rows.make(run, report)
    result = _write(plan, build(plan, runs, rows, "val"), out, dataset)
    if not test:
        return result
    lacking = [run for run in runs if rows.row(run, "test") is None]
    if lacking:
        reader = f"compare --config {plan_file} --test ({len(lacking)} runs)"
        relevant = dataset.read_test(reader)
        for run in lacking:
            rows.make_test(run, relevant, reader, report)
        _write(plan, build(plan, runs, rows, "val"), out, dataset)
    return _write(plan, build(plan, runs, rows, "test"), out, dataset)


def _write(plan: ComparisonPlan, table: Table, out: Path, dataset: Dataset) -> ComparisonResult:
    split: Split = table.split
    text = markdown(table, plan)
    write_table(table.models, out / f"table-{split}.csv")
    write_table(table.groups, out / f"groups-{split}.csv")
    write_text(out / f"table-{split}.md", text)
    plot_table(table, plan, out / f"table-{split}.png")
    return ComparisonResult(out, table, text, dataset.test_reads(), dataset.path)
