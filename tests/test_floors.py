"""The rules of the house (docs/architecture.md), read off the code: floors, homes of heavy packages, safe loading."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = ("faces", "training", "evaluation", "assets", "pipelines")
HOMES = {
    "dagster": {"assets", "pipelines"},
    "ray": {"pipelines/ray_pool.py", "pipelines/ray_driver.py", "pipelines/ray_worker.py", "pipelines/ray_job.py"},
    "deepspeed": {"training/engine.py"},
    "mlflow": {"training/tracking.py", "pipelines/tracking.py"},
    "webdataset": {"assets/shards.py"},
}
FORBIDDEN = {"pickle", "dill", "joblib", "cloudpickle", "shelve", "torchvision", "timm"}


def sources() -> list[Path]:
    return sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or ""


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in sources()}


def test_a_floor_imports_only_from_floors_below(trees: dict[str, ast.Module]) -> None:
    faults = []
    for name, tree in trees.items():
        floor = FLOORS.index(name.split("/")[0])
        for line, module in imports(tree):
            head = module.split(".")[0]
            if head in FLOORS and FLOORS.index(head) > floor:
                faults.append(f"{name}:{line} imports {module}")
    assert len(trees) > 30
    assert faults == []


def test_heavy_packages_live_in_their_own_rooms(trees: dict[str, ast.Module]) -> None:
    faults = []
    for name, tree in trees.items():
        for line, module in imports(tree):
            homes = HOMES.get(module.split(".")[0])
            if homes and name not in homes and name.split("/")[0] not in homes:
                faults.append(f"{name}:{line} imports {module}")
    assert faults == []


def test_nothing_is_unpickled(trees: dict[str, ast.Module]) -> None:
    faults = []
    for name, tree in trees.items():
        faults += [f"{name}:{line} imports {m}" for line, m in imports(tree) if m.split(".")[0] in FORBIDDEN]
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
            given = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
            if (owner, node.func.attr) == ("torch", "load") and given.get("weights_only") is not True:
                faults.append(f"{name}:{node.lineno} torch.load without weights_only=True")
            if (owner, node.func.attr) == ("np", "load") and given.get("allow_pickle") is not False:
                faults.append(f"{name}:{node.lineno} np.load without allow_pickle=False")
    assert faults == []


def test_typed_arguments_of_dagster_stay_real_types(trees: dict[str, ast.Module]) -> None:
    upper = {name: tree for name, tree in trees.items() if name.startswith(("assets/", "pipelines/"))}
    faults = [name for name, tree in upper.items() if any(module == "__future__" for _, module in imports(tree))]
    assert upper
    assert faults == []


def test_every_module_says_what_it_holds(trees: dict[str, ast.Module]) -> None:
    assert [name for name, tree in trees.items() if not ast.get_docstring(tree)] == []
