"""Identity encoders: a face crop in, a unit vector out. `load_encoder(name)` finds them all by name or file."""

from faces.identity.encoder import Encoder, TorchEncoder
from faces.identity.registry import KNOWN_ENCODERS, encoder_status, load_encoder

__all__ = ["KNOWN_ENCODERS", "Encoder", "TorchEncoder", "encoder_status", "load_encoder"]
