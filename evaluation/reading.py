"""The honest notes under every report: what the figures mean, and what they do not say."""

import math

from evaluation.evaluation import Evaluation
from evaluation.networks import absent
from evaluation.pairs import IN_CLIPS

READING = (
    ("Copy-target", "returns the target untouched: perfect attributes, nobody swapped. A metric that likes it too well "
     "is blind to identity."),
    ("Paste-source", "pastes the source's face over the target's, aligned and feathered: the right person in the wrong "
     "light, pose and outline."),
    ("Identity", "is the cosine of face embeddings by encoders that did not train the model, where there are any. "
     "Embeddings like the paste: identity alone ranks nothing."),
    ("Retrieval", "ranks against every face of the list, the pair's own target included, so a result that still looks "
     "like its target is caught."),
    ("Failures", "are counted beside every mean and never dropped silently; the gate refuses a model that fails more "
     "often."),
    ("Intervals", "are 95 % bootstrap intervals over pairs, stretched where pairs that share a person are alike: they "
     "say what other people would give, not what another training run would."),
)  # fmt: skip
TRUE_SWAP_NOTE = (
    "The true swap", "is rendered by the generator: the source person in the target's scene, with the target's skin "
    "tone. It is the ceiling, except of identity: light, hair and pose stay the target's, so results painted for "
    "encoders pass it. Identity to the truth is their similarity to this picture, which nothing passes.",
)  # fmt: skip
NO_FIT_NOTE = (
    "Pose, expression, shape, light", "of results are left out: no trustworthy fit of the results was at hand, and a "
    "guess would be worse.",
)  # fmt: skip

OWN_FEATURES_NOTE = (
    "Fréchet and kernel distance, own features", "are over our own face encoder's features: neither an FID nor a KID, "
    "and not to be put beside one.",
)  # fmt: skip

NO_CONSISTENCY_NOTE = (
    "Identity consistency", "is left out: in this list no person is the source of two results, or persons are unknown "
    "(--protocol consistency has sources that repeat).",
)  # fmt: skip
CLIPS_NOTE = (
    "Clips", "are what the intervals draw here, whole: frames of one video are no independent pairs. A still that "
    "is pasted everywhere is the steadiest of all: stability alone ranks nothing.",
)  # fmt: skip


def reading(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Honest notes, those that apply to this evaluation."""
    notes = list(READING)
    if evaluation.provenance.get("truth"):
        notes.insert(2, TRUE_SWAP_NOTE)
    if not evaluation.provenance.get("fitted"):
        notes.append(NO_FIT_NOTE)
    if evaluation.pairs.protocol in IN_CLIPS:
        notes.append(CLIPS_NOTE)
    if not math.isfinite(evaluation.summary.get("identity_consistency", {}).get("mean", math.nan)):
        notes.append(NO_CONSISTENCY_NOTE)
    networks = evaluation.provenance.get("networks", {})
    notes.append(OWN_FEATURES_NOTE)
    missing = absent(networks)
    if missing:
        told = f"for want of weights that nobody may ship: {'; '.join(missing)}. Nothing stands in under their names."
        notes.append(("Not measured", told))
    other = [name for name, found in networks.items() if found["published"] is False]
    if other:
        told = f"than the published ones (by SHA-256) measured {', '.join(other)}: they compare with nobody else's."
        notes.append(("Other weights", told))
    return notes
