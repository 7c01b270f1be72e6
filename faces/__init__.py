"""What a face is: landmarks, crops, camera, heads, rasteriser, light, fitting, albedo, masks, identity, people.

The lowest floor of the house: pure functions over arrays. It knows no Dagster, no Ray, no MLflow and no DeepSpeed.
"""
