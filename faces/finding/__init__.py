"""Faces in plain photographs by networks of our own: where they are (finder.py), and 68 landmarks (reader.py)."""
