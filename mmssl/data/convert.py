"""``convert``: one tool's files as another's, without a dataset between them."""

from dataclasses import dataclass
from pathlib import Path

from extract.errors import InputError
from extract.files import atomic_folder
from mmssl.data.formats.base import WritableFormat
from mmssl.data.formats.registry import AUTO, find_format, source_format
from mmssl.data.interactions import InvalidRows
from mmssl.wording import counted


@dataclass(frozen=True)
class ConvertReport:
    """What was read and written; ``notes`` say what was lost and how the tool finds its files."""

    source: Path
    read_as: str
    out: Path
    written_as: str
    users: int
    items: int
    interactions: dict[str, int]
    modalities: tuple[str, ...]
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """The report as lines of text for people."""
        parts = ", ".join(
            f"{counted(count, 'interaction') if name == 'interactions' else f'{count:,} {name}'}"
            for name, count in self.interactions.items()
        )
        modalities = f"; {', '.join(self.modalities)}" if self.modalities else ""
        return [
            f"{self.source}: read as {self.read_as}: {counted(self.users, 'user')},"
            f" {counted(self.items, 'item')}, {parts}{modalities}",
            *self.notes,
            f"{self.out}: written as {self.written_as}",
        ]


def convert(
    source: Path,
    to: str,
    out: Path,
    *,
    source_layout: str = AUTO,
    invalid_rows: InvalidRows = "error",
) -> ConvertReport:
    """Read one layout and write another into the folder ``out``, whole or not at all.

    Args:
        source: the folder, or file, to read.
        to: name of the layout to write.
        out: absent or empty; its name becomes the data set's, for tools whose files bear it.
        source_layout: name of the layout to read; ``auto`` takes the one that ``source`` has.
        invalid_rows: what rows with an empty id, or an unreadable rating or time, lead to.

    Raises:
        InputError: an unknown layout, a source that cannot be read, content that the layout cannot
            hold, or a folder that is not empty.
    """
    target = find_format(to)
    if not isinstance(target, WritableFormat):
        raise InputError(f"--to {to}: not written by `convert` but by `prepare SOURCE --out DIR`")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: not an empty folder; name another with --out")
    inside, around = out.resolve(), source.resolve()
    if source.is_dir() and around in inside.parents:
        raise InputError(f"{out}: lies in the source; name a folder outside of {source}")
    layout = source_format(source, source_layout)
    content = layout.read(source, invalid_rows)
    items = layout.read_items(source)
    empty = [part for part, table in content.parts.items() if not table.frame.height]
    with atomic_folder(out) as folder:
        notes = target.write(content, items, folder, out.resolve().name)
    dropped = [
        f"{table.path}: {step.step}: left out {step.interactions:,} interactions"
        for table in content.parts.values()
        for step in table.invalid
    ]
    return ConvertReport(
        source,
        layout.name,
        out,
        target.name,
        len(content.ids("user")),
        len(content.ids("item")),
        {part: table.frame.height for part, table in content.parts.items()},
        tuple(content.features),
        (
            *(f"warning: {warning}" for warning in content.warnings),
            *(f"warning: the {part} part is empty; not every tool reads such" for part in empty),
            *dropped,
            *notes,
        ),
    )
