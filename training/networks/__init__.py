"""One file a network, shapes in the docstrings."""
