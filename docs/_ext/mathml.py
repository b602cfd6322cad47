"""Mathematics as MathML, made at the build: a page then needs no script and no network."""

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.typing import ExtensionMetadata
from sphinx.writers.html5 import HTML5Translator


def _mathml(latex: str, display: str) -> str:
    try:
        return str(convert(latex, display=display))
    except Exception as error:
        raise ExtensionError(f"no MathML of {latex!r}: {error}") from error


def visit_inline(translator: HTML5Translator, node: nodes.math) -> None:
    """``$x$`` in a line."""
    translator.body.append(_mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def visit_block(translator: HTML5Translator, node: nodes.math_block) -> None:
    """``$$x$$``, with its number where it has one."""
    latex, number = node.astext(), node.get("number")
    translator.body.append('<div class="math-block">')
    translator.body.append(_mathml(latex, "block"))
    if number:
        translator.body.append(f'<span class="eqno">({number})</span>')
    translator.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the renderer, which Sphinx takes because it is the only one."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
