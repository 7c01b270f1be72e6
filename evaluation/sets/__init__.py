"""Faces to judge on that are no shards: generated sequences, FaceForensics++, CelebA-HQ. One frozen list each."""
