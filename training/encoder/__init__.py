r"""Identity encoders: recipes, data, BlendFace's blending, margin losses, the loop.

    samae train --recipe arcface                 the asset identity_encoder[arcface]
    samae train --recipe blendface-encoder
    python -m training.encoder --recipe blendface-encoder --out blendface.safetensors
    python -m training.encoder --out faces/identity/weights/builtin.safetensors
    python -m training.encoder --loss cosface --seed 202 --depth 10 --width 32 --people 420 \
        --out faces/identity/weights/judge-1.safetensors
    python -m training.encoder --seed 303 --depth 34 --width 16 --people 420 \
        --out faces/identity/weights/judge-2.safetensors
    python -m training.encoder --seed 505 --depth 10 --width 24 --dim 192 --crop-px 48 --render-px 96 \
        --people 440 --epochs 24 --out faces/identity/weights/judge-3.safetensors

The people of an encoder come from its own seed; the judges' seeds and backbones differ from the trainer's encoder,
so that no swapper is scored by the network that taught it.
"""

from training.encoder.crops import CropSet, open_crops
from training.encoder.loop import augment, check, train_encoder
from training.encoder.margin import MarginHead, margin_logits
from training.encoder.recipe import EncoderRecipe, encoder_recipe_names, load_encoder_recipe

__all__ = [
    "CropSet", "EncoderRecipe", "MarginHead", "augment", "check", "encoder_recipe_names", "load_encoder_recipe",
    "margin_logits", "open_crops", "train_encoder",
]  # fmt: skip
