"""The directive ``settings``: every key of a configuration class, its type, default and words.

The words are the strings that stand below the fields in the code; a field without any is an error.
"""

import ast
import inspect
import json
import textwrap
from importlib import import_module
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from docutils import nodes
from prose import entry, inline, paragraphs
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

BOUNDS = {Ge: ("ge", "at least"), Gt: ("gt", "above"), Le: ("le", "at most"), Lt: ("lt", "below")}


def words_of(model: type[BaseModel]) -> dict[str, str]:
    """What stands below each field, the nearest class of the inheritance first."""
    found: dict[str, str] = {}
    for kind in model.__mro__:
        if kind in (BaseModel, object) or not issubclass(kind, BaseModel):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, below in zip(body.body, body.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
                and isinstance(below.value.value, str)
            ):
                found.setdefault(field.target.id, below.value.value)
    return found


def type_name(annotation: Any, metadata: tuple[Any, ...] = ()) -> str:
    """A type as people write it: ``number above 0``, ``a | b``."""
    if hasattr(annotation, "__metadata__"):
        return type_name(annotation.__origin__, (*annotation.__metadata__, *metadata))
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(map(str, args))
    if origin in (Union, UnionType):
        names = (type_name(part, metadata) for part in args if part is not type(None))
        return " | ".join([*names, *(["null"] if type(None) in args else [])])
    if origin is tuple:
        parts = [part for part in args if part is not Ellipsis]
        listed = ", ".join(type_name(part) for part in parts)
        return f"[{listed}, ...]" if Ellipsis in args else f"[{listed}]"
    if origin is dict:
        return f"{{{type_name(args[0])}: {type_name(args[1])}, ...}}"
    plain = {int: "integer", float: "number", str: "text", bool: "true | false"}
    name = plain.get(annotation, getattr(annotation, "__name__", str(annotation)))
    bounds = []
    for item in _flat(metadata):
        if type(item) in BOUNDS:
            key, said = BOUNDS[type(item)]
            bounds.append(f"{said} {getattr(item, key)}")
    return " ".join([{"Path": "path"}.get(name, name), " and ".join(bounds)]).strip()


def _flat(metadata: tuple[Any, ...]) -> list[Any]:
    found: list[Any] = []
    for item in metadata:
        found += _flat(tuple(item.metadata)) if isinstance(item, FieldInfo) else [item]
    return [item for item in found if not isinstance(item, MinLen)]


class Settings(SphinxDirective):
    """``{settings} mmssl.config:FeatureConfig``, with the option ``prefix`` of the keys."""

    required_arguments = 1
    option_spec = {"prefix": str, "without-shared": lambda _: True}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        """The nodes of one configuration class and of its sections."""
        module, _, name = self.arguments[0].partition(":")
        model = getattr(import_module(module), name)
        skipped: set[str] = set()
        if "without-shared" in self.options:
            from mmssl.config import TrainingConfig

            skipped = set(TrainingConfig.model_fields)
        listed = nodes.definition_list("", classes=["reference-list"])
        self._add(listed, model, self.options.get("prefix", ""), name.lower(), skipped)
        return [*paragraphs(inspect.getdoc(model) or ""), listed]

    def _add(
        self, listed: nodes.Element, model: type[BaseModel], prefix: str, at: str, skip: set[str]
    ) -> None:
        words = words_of(model)
        for name, field in model.model_fields.items():
            if name in skip:
                continue
            kind = field.annotation
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                self._add(listed, kind, f"{prefix}{name}.", at, set())
                continue
            if name not in words:
                raise self.error(f"{model.__name__}.{name} has no words below it in the code")
            told = type_name(kind, tuple(field.metadata))
            facts = f" {told}; " + (
                "required" if field.is_required() else f"default {_default(field)}"
            )
            term = [
                nodes.literal(text=prefix + name),
                nodes.inline(text=facts, classes=["facts"]),
            ]
            body: list[nodes.Node] = [nodes.paragraph("", "", *inline(words[name]))]
            listed += entry(term, f"{at}-{prefix}{name}".replace(".", "-"), body)


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the directive."""
    app.add_directive("settings", Settings)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
