"""One task of a `RayPool`, as Ray's workers run it. Nothing heavy is imported here: every worker imports this.

Function, item and answer travel pickled, so that the driver between pool and worker need not know what they are.
"""

from collections.abc import Callable
from typing import Any

from faces.errors import SamaeError

#: Functions that this worker has unpickled, by the object that holds them, newest last.
_UNPICKLED: dict[str, Callable[[Any], Any]] = {}
#: Two: a judgement looks at its faces with one function and at its pairs with another.
KEPT_FUNCTIONS = 2


def call(function: Callable[[Any], Any], item: Any) -> tuple[Any, str | None]:
    """The answer, or the sentence of a SamaeError (which the pool raises again)."""
    try:
        return function(item), None
    except SamaeError as error:
        return None, str(error)


def call_shared(holder: list[Any], item: bytes) -> tuple[bytes, str | None]:
    """`call` with a function that lies in the object store: a worker unpickles it once, not once a task.

    A judge's function weighs 50 MB. `holder` is a list of one reference: Ray hands a bare one over as its value.
    """
    import ray
    from ray import cloudpickle

    name = holder[0].hex()
    if name not in _UNPICKLED:
        _UNPICKLED[name] = cloudpickle.loads(ray.get(holder[0]))
        for old in list(_UNPICKLED)[:-KEPT_FUNCTIONS]:
            del _UNPICKLED[old]
    answer, sentence = call(_UNPICKLED[name], cloudpickle.loads(item))
    return cloudpickle.dumps(answer), sentence
