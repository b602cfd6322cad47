"""Examples: the quickstart, a notebook, and an encoder of one's own."""
