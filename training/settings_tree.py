"""Trees of settings: YAML files that extend each other and overrides "a.b=value", read into frozen dataclasses.

The recipes of swappers (config.py) and of identity encoders (encoder/recipe.py) are read by this. Whatever is wrong
is one SamaeError that names the key and the nearest known spelling.
"""

import dataclasses
import difflib
import types
import typing
from pathlib import Path
from typing import Any

import yaml

from faces.errors import SamaeError

#: Marks a setting that came after the first recipes: left at its default it is left out of `as_dict`, so that recipes
#: and runs that do not use it keep their digests.
LATER = {"later": True}


def read_tree(name_or_path: str | Path, folder: Path, overrides: list[str]) -> dict[str, Any]:
    """The settings of folder/NAME.yaml, or of a path with a suffix, over what it extends, with "a.b=value" over all."""
    named = Path(str(name_or_path))
    tree = _read_tree(named if named.suffix else folder / f"{name_or_path}.yaml", folder)
    for override in overrides:
        _apply(tree, override)
    return tree


def build_settings(cls: type, tree: dict[str, Any]) -> Any:
    """Nested plain values -> a frozen dataclass of settings; SamaeError names an unknown key or a wrong type."""
    return _build(cls, tree, "")


def _read_tree(path: Path, folder: Path, depth: int = 0) -> dict[str, Any]:
    if not path.is_file():
        names = sorted(found.stem for found in folder.glob("*.yaml"))
        near = difflib.get_close_matches(path.stem, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the recipes here are {names}"
        raise SamaeError(f"there is no recipe {path.stem!r} ({path}); {hint}")
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise SamaeError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise SamaeError(f"{path} holds no settings; a recipe is a list of `key: value` lines")
    parent = tree.pop("extends", None)
    tree.setdefault("name", path.stem)
    if parent is None:
        return tree
    if depth > 8:
        raise SamaeError(f"{path}: recipes extend each other in a circle")
    beside = path.parent / f"{parent}.yaml"
    base = _read_tree(beside if beside.is_file() else folder / f"{parent}.yaml", folder, depth + 1)
    return _merge(base, tree)


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _apply(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise SamaeError(f"the override {override!r} is not of the form key.key=value, e.g. train.total_kimg=20")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise SamaeError(f"the value of the override {override!r} is not valid YAML") from None
    *path, last = key.strip().split(".")
    for part in path:
        tree[part] = dict(tree.get(part) or {}) if isinstance(tree.get(part) or {}, dict) else {}
        tree = tree[part]
    tree[last] = value


def _build(cls: type, values: Any, path: str) -> Any:
    if not isinstance(values, dict):
        raise SamaeError(f"recipe key {path[:-1]!r} must hold key: value lines, not {values!r}")
    hints = typing.get_type_hints(cls)
    for key in values:
        if key not in hints:
            near = difflib.get_close_matches(str(key), hints, n=1)
            hint = f"did you mean {path + near[0]!r}?" if near else f"the keys here are {sorted(hints)}"
            raise SamaeError(f"unknown recipe key {path + str(key)!r}; {hint}")
    required = [f.name for f in dataclasses.fields(cls) if _is_required(f) and f.name not in values]
    if required:
        raise SamaeError(f"the recipe lacks {[path + name for name in required]}")
    return cls(**{key: _convert(hints[key], value, path + key) for key, value in values.items()})


def _is_required(entry: "dataclasses.Field[Any]") -> bool:
    return entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING


def _convert(kind: Any, value: Any, path: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, path + ".")  # type: ignore[arg-type]
    if typing.get_origin(kind) is tuple:
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(_convert(typing.get_args(kind)[0], item, path) for item in items)
    if kind is str and value is None:  # `key=` on the command line, `key:` in a file
        return ""
    if kind is float and isinstance(value, str):
        value = _number(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and not isinstance(kind, types.GenericAlias) and type(value) is kind:
        return value
    raise SamaeError(f"recipe key {path!r} must be {getattr(kind, '__name__', kind)}, not {value!r}")


def _number(text: str) -> Any:
    try:
        return float(text)  # YAML reads 1e-4 (without a point) as a string
    except ValueError:
        return text


def require_one_of(path: str, value: str, allowed: tuple[str, ...]) -> None:
    """SamaeError unless the value of the key `path` is one of those allowed."""
    if value not in allowed:
        near = difflib.get_close_matches(value, allowed, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it may be {', '.join(allowed)}"
        raise SamaeError(f"recipe key {path!r} is {value!r}; {hint}")


def plain(settings: Any) -> dict[str, Any]:
    """Settings -> plain JSON values, nested as in the YAML file; those marked LATER only where they were changed."""
    tree = {}
    for entry in dataclasses.fields(settings):
        value = getattr(settings, entry.name)
        if entry.metadata.get("later") and value == entry.default:
            continue
        tree[entry.name] = plain(value) if dataclasses.is_dataclass(value) else value
    return tree
