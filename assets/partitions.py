"""How the graph is cut: data by FFHQ folder (dynamic, they come and go), models by recipe (a YAML file)."""

from importlib import resources

import dagster as dg

#: Name under which an instance keeps the folders that exist.
FOLDERS_NAME = "ffhq_folders"


def recipe_names() -> list[str]:
    """Names of the recipes that train a swapper: the YAML files of training/recipes, sorted."""
    files = resources.files("training").joinpath("recipes").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def encoder_recipe_names() -> list[str]:
    """Names of the recipes that train an identity encoder: training/recipes/encoders, sorted."""
    files = resources.files("training").joinpath("recipes", "encoders").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


folder_partitions = dg.DynamicPartitionsDefinition(name=FOLDERS_NAME)
recipe_partitions = dg.StaticPartitionsDefinition(recipe_names())
encoder_partitions = dg.StaticPartitionsDefinition(encoder_recipe_names())
