"""How Sphinx builds this site: offline, and with every warning an error (``make docs``)."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]

project = "MMSSL toolkit"
author = "the MMSSL toolkit's contributors"
copyright = "the MMSSL toolkit's contributors, Apache-2.0"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "command_reference",
    "mathml",
    "settings_reference",
]
# results/ holds tables that pages link; they are no pages themselves.
exclude_patterns = ["results", "_ext", "_static"]

myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3
# One-letter dollars are money and shell prompts more often than mathematics.
myst_dmath_allow_digits = False
myst_dmath_allow_space = False

# Options begin with two hyphens, and what is in quotes may be typed: neither is for a typesetter.
smartquotes = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

# Other libraries' names, and the aliases that our signatures are written with, have no page here.
nitpick_ignore_regex = [
    (r"py:.*", r"(numpy|torch|pathlib|collections|scipy|upath|polars|PIL)\..*"),
    # What is not public: the signatures name it, and the code has its words.
    (r"py:class", r"mmssl\.(vectors|processes|data\.sampling|recommend\.(caps|model_files))\..*"),
    (r"py:class", r"extract\.manifest\.StoreManifest"),
    # First words of what a function returns, which napoleon takes for types.
    (r"py:class", r"I|n|float32|ascending|user rows|The parts that a score is made of"),
]

html_math_renderer = "mathml"
html_theme = "furo"
html_title = "MMSSL toolkit"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": False}
templates_path: list[str] = []
pygments_style = "friendly"
pygments_dark_style = "monokai"

copybutton_exclude = ".linenos, .gp, .go"
