"""`samae bench`: find the files of benchmarks/, run one, and print its figures as a table or as one JSON object."""

import importlib
import json
import pkgutil
from types import ModuleType
from typing import Any

from assets.machine import commit, machine
from faces.errors import SamaeError


def run(name: str | None, as_json: bool, settings: list[str], list_all: bool) -> None:
    """List the benchmarks, or run one."""
    if list_all or name is None:
        summaries = {found: str(load(found).SUMMARY).strip() for found in names()}
        print(json.dumps(summaries, indent=2) if as_json else "\n".join(f"{k:<14} {v}" for k, v in summaries.items()))
        return
    answer = measure(name, parse(settings))
    print(json.dumps(answer) if as_json else table(answer))


def names() -> list[str]:
    """Names of the benchmarks, as typed: with hyphens. Modules that start with an underscore are helpers."""
    import benchmarks

    found = [module.name for module in pkgutil.iter_modules(benchmarks.__path__)]
    return sorted(name.replace("_", "-") for name in found if not name.startswith("_"))


def load(name: str) -> ModuleType:
    """The module of one benchmark; an unknown name is a SamaeError with the names there are."""
    if name.replace("_", "-") not in names():
        raise SamaeError(f"no benchmark is called {name!r}; there are {', '.join(names())}")
    return importlib.import_module(f"benchmarks.{name.replace('-', '_')}")


def settings_of(module: ModuleType) -> tuple[str, ...]:
    """Names of a benchmark's settings: its SETTINGS, or those of its DEFAULTS."""
    return tuple(module.SETTINGS if hasattr(module, "SETTINGS") else module.DEFAULTS)


def parse(settings: list[str]) -> dict[str, Any]:
    """["k=v"] -> {k: v} with numbers and booleans where the text is one."""
    parsed: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise SamaeError(f"--set {setting!r} is not KEY=VALUE")
        try:
            parsed[key] = json.loads(text)
        except json.JSONDecodeError:
            parsed[key] = text
    return parsed


def measure(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """{bench, commit, machine, settings, figures} of one run; a SamaeError names an unknown setting."""
    module = load(name)
    known = settings_of(module)
    if unknown := sorted(set(settings) - set(known)):
        raise SamaeError(f"bench {name} knows no {', '.join(unknown)}; its settings are {', '.join(known) or 'none'}")
    figures = module.run(settings)
    return {"bench": name, "commit": commit(), "machine": machine(), "settings": settings, "figures": figures}


def table(answer: dict[str, Any]) -> str:
    """The same for people."""
    width = max((len(name) for name in answer["figures"]), default=0)
    lines = [f"{answer['bench']}  ({answer['machine']}; commit {answer['commit']})"]
    for name, value in answer["figures"].items():
        lines.append(f"  {name:<{width}}  {value:,.4g}" if isinstance(value, float) else f"  {name:<{width}}  {value}")
    return "\n".join(lines)
