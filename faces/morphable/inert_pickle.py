"""Arrays out of somebody else's pickle file without unpickling it: the opcodes are read, and nothing is ever called.

FLAME is published as a pickle, and unpickling runs the code that the file names. Here `pickletools` splits the file
into opcodes, a small stack machine (ours; Python's module `pickle` is not used) puts numbers, text, lists and
dictionaries together, and a "call" is only written down as a Call. Of the names that a file may mention, those of KNOWN
are then understood as data: numpy arrays, scipy's sparse matrices and chumpy's wrappers. Every other name is refused
with the name in the sentence, before anything else is looked at.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from faces.errors import SamaeError

#: Names that are understood (Python 2's and 3's, old and new numpy, scipy, chumpy); anything else is refused.
RECONSTRUCT = {f"{base}.multiarray._reconstruct" for base in ("numpy.core", "numpy._core")}
FROM_BUFFER = {f"{base}.numeric._frombuffer" for base in ("numpy.core", "numpy._core")}
SCALAR = {f"{base}.multiarray.scalar" for base in ("numpy.core", "numpy._core")}
COPY = {"copy_reg._reconstructor", "copyreg._reconstructor"}
SPARSE = {f"scipy.sparse.{prefix}{kind}.{kind}_matrix" for kind in ("csc", "csr") for prefix in ("", "_")}
CHUMPY = {"chumpy.ch.Ch", "chumpy.reordering.Select"}
ENCODE = {"_codecs.encode"}
KNOWN = (
    RECONSTRUCT | FROM_BUFFER | SCALAR | COPY | SPARSE | CHUMPY | ENCODE
    | {"numpy.ndarray", "numpy.dtype", "__builtin__.object", "builtins.object"}
)  # fmt: skip
#: Values outside arrays (numbers, texts, lists, dictionaries) that a file may hold; FLAME's has some hundred.
MOST_VALUES = 1_000_000
#: Kinds of numpy numbers that are read.
NUMBERS = "biuf"


@dataclass(frozen=True)
class Name:
    """A global that the file mentions."""

    path: str


@dataclass(eq=False)
class Call:
    """What would be an object: which name, with what, and the state that came after. Nothing is called."""

    name: str
    arguments: tuple[Any, ...]
    state: Any = None


class _Mark:
    """Where a list of arguments starts on the stack."""


def inert_pickle(data: bytes, source: Path) -> Any:
    """The value of a pickle: None, bool, int, float, str, bytes, tuple, list, dict, numpy arrays.

    Raises:
        SamaeError: a name that is not in KNOWN (the file may carry code; nothing of it ran), an opcode that no data
            need, or a damaged file.
    """
    try:
        return _plain(_Reader(source).read(data), _Work())
    except SamaeError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise SamaeError(
            f"{source} cannot be read as a pickle of arrays ({type(error).__name__}: {error}); download it again"
        ) from None


class _Reader:
    """The stack machine."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def read(self, data: bytes) -> Any:
        """Run all opcodes; the value that STOP leaves."""
        for opcode, argument, _ in pickletools.genops(data):
            step = STEPS.get(opcode.name)
            if step is not None:
                step(self, argument)
            elif opcode.name in LITERALS:
                self.stack.append(argument)
            elif opcode.name not in IGNORED:
                raise SamaeError(
                    f"{self.source} uses the pickle opcode {opcode.name}, which arrays do not need: it was refused and "
                    "nothing of the file was executed; download it from the model's own page"
                )
        return self.stack.pop()

    def name(self, module: str, attribute: str) -> None:
        """A global: refused unless it stands for data."""
        path = f"{module}.{attribute}"
        if path not in KNOWN:
            raise SamaeError(
                f"{self.source} names {path}, which is not an array: it was refused and nothing of the file was "
                "executed; download it from the model's own page"
            )
        self.stack.append(Name(path))

    def marked(self) -> list[Any]:
        """What lies above the last mark; the mark goes too."""
        at = max(i for i, value in enumerate(self.stack) if isinstance(value, _Mark))
        values = self.stack[at + 1 :]
        del self.stack[at:]
        return values

    def call(self) -> None:
        """REDUCE, NEWOBJ: write down what would be called."""
        arguments, name = self.stack.pop(), self.stack.pop()
        if not isinstance(name, Name) or not isinstance(arguments, tuple):
            raise ValueError("a call of something that is no name")
        self.stack.append(Call(name.path, arguments))

    def build(self) -> None:
        """BUILD: keep the state."""
        state = self.stack.pop()
        if not isinstance(self.stack[-1], Call):
            raise ValueError("a state for something that is no object")
        self.stack[-1].state = state

    def set_items(self, values: list[Any]) -> None:
        """Pairs into the dictionary on top of the stack."""
        self.stack[-1].update(zip(values[::2], values[1::2], strict=True))


def _append(reader: _Reader, _: Any) -> None:
    value = reader.stack.pop()
    reader.stack[-1].append(value)


def _appends(reader: _Reader, _: Any) -> None:
    values = reader.marked()
    reader.stack[-1].extend(values)


def _set_item(reader: _Reader, _: Any) -> None:
    value, key = reader.stack.pop(), reader.stack.pop()
    reader.set_items([key, value])


def _dictionary(reader: _Reader, _: Any) -> None:
    values = reader.marked()
    reader.stack.append({})
    reader.set_items(values)


def _stack_global(reader: _Reader, _: Any) -> None:
    attribute, module = reader.stack.pop(), reader.stack.pop()
    reader.name(str(module), str(attribute))


def _tuple_of(count: int) -> Callable[[_Reader, Any], None]:
    def step(reader: _Reader, _: Any) -> None:
        """The topmost `count` values become one tuple."""
        values = tuple(reader.stack[-count:])
        del reader.stack[-count:]
        reader.stack.append(values)

    return step


def _keep(reader: _Reader, argument: Any) -> None:
    reader.memo[len(reader.memo) if argument is None else int(argument)] = reader.stack[-1]


#: Opcodes whose argument is the value itself.
LITERALS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
IGNORED = {"PROTO", "FRAME", "STOP"}
STEPS: dict[str, Callable[[_Reader, Any], Any]] = {
    "MARK": lambda r, _: r.stack.append(_Mark()),
    "NONE": lambda r, _: r.stack.append(None),
    "NEWTRUE": lambda r, _: r.stack.append(True),
    "NEWFALSE": lambda r, _: r.stack.append(False),
    "EMPTY_TUPLE": lambda r, _: r.stack.append(()),
    "EMPTY_LIST": lambda r, _: r.stack.append([]),
    "EMPTY_DICT": lambda r, _: r.stack.append({}),
    "TUPLE": lambda r, _: r.stack.append(tuple(r.marked())),
    "LIST": lambda r, _: r.stack.append(list(r.marked())),
    "DICT": _dictionary,
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "APPEND": _append,
    "APPENDS": _appends,
    "SETITEM": _set_item,
    "SETITEMS": lambda r, _: r.set_items(r.marked()),
    "POP": lambda r, _: r.stack.pop(),
    "POP_MARK": lambda r, _: r.marked(),
    "DUP": lambda r, _: r.stack.append(r.stack[-1]),
    "GLOBAL": lambda r, text: r.name(*text.split(" ", 1)),
    "STACK_GLOBAL": _stack_global,
    "REDUCE": lambda r, _: r.call(),
    "NEWOBJ": lambda r, _: r.call(),
    "BUILD": lambda r, _: r.build(),
    "PUT": _keep,
    "BINPUT": _keep,
    "LONG_BINPUT": _keep,
    "MEMOIZE": _keep,
    "GET": lambda r, key: r.stack.append(r.memo[int(key)]),
    "BINGET": lambda r, key: r.stack.append(r.memo[int(key)]),
    "LONG_BINGET": lambda r, key: r.stack.append(r.memo[int(key)]),
}


@dataclass
class _Work:
    """What has been turned into data: of each Call its value and how many values it holds, and how many in all.

    A list that holds another one twice doubles with each level, and so would the array made of it: each value counts
    as often as it stands in the result.
    """

    done: dict[int, tuple[Any, int]] = field(default_factory=dict)
    count: int = 0

    def add(self, count: int) -> None:
        """So many more values; a ValueError beyond MOST_VALUES."""
        self.count += count
        if self.count > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES} values outside arrays")


def _plain(value: Any, work: _Work) -> Any:
    """Calls turned into arrays, through lists, tuples and dictionaries."""
    work.add(1)
    if isinstance(value, dict):
        return {_plain(k, work): _plain(v, work) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item, work) for item in value)
    if isinstance(value, Call):
        if id(value) in work.done:
            work.add(work.done[id(value)][1])
        else:
            before = work.count
            work.done[id(value)] = _array(value, work), work.count - before
        return work.done[id(value)][0]
    if isinstance(value, (Name, _Mark)):
        raise ValueError(f"{value} stands where a value is due")
    return value


def _array(call: Call, work: _Work) -> Any:
    """What a Call means as data."""
    name = call.name
    if name in COPY:
        made = call.arguments[0]
        return _array(Call(made.path if isinstance(made, Name) else "", (), call.state), work)
    if name in RECONSTRUCT:
        return _ndarray(call.state, work)
    if name in FROM_BUFFER:
        data, kind, shape, order = call.arguments
        return np.frombuffer(_bytes(data), _dtype(kind)).reshape(shape, order=order)
    if name in SPARSE:
        return _sparse(name, _plain(call.state, work))
    if name in CHUMPY:
        return _chumpy(name, _plain(call.state, work))
    if name in ENCODE:
        return _bytes(call.arguments[0])
    if name in SCALAR:
        return np.frombuffer(_bytes(_plain(call.arguments[1], work)), _dtype(call.arguments[0]))[0]
    raise ValueError(f"{name} stands where an array is due")


def _dtype(call: Any) -> np.dtype:
    """A number's type from what numpy wrote: ('f8', ...) and a state that begins (version, byte order)."""
    if not isinstance(call, Call) or call.name != "numpy.dtype":
        raise ValueError("an array without a type")
    code, order = str(call.arguments[0]), str(call.state[1]) if call.state else "="
    if code.lstrip("<>=|")[:1] not in NUMBERS + "O":
        raise ValueError(f"an array of {code!r}, which is no number")
    kind = np.dtype(code)
    return kind.newbyteorder("<" if order == "<" else ">") if order in "<>" else kind


def _bytes(data: Any) -> bytes:
    """Python 2 wrote bytes as text."""
    return data.encode("latin-1") if isinstance(data, str) else bytes(data)


def _ndarray(state: Any, work: _Work) -> Any:
    """(version, shape, type, column-major, data) -> the array; an array of objects gives the list of its values."""
    _, shape, kind, column_major, data = state
    kind = _dtype(kind)
    if kind.kind == "O":
        return [_plain(item, work) for item in data]
    flat = np.frombuffer(_bytes(_plain(data, work)), kind)
    return flat.reshape(shape, order="F" if column_major else "C")


def _sparse(name: str, state: dict[str, Any]) -> np.ndarray:
    """scipy's compressed matrix -> a dense array."""
    from scipy import sparse

    kind = sparse.csc_matrix if name.endswith("csc_matrix") else sparse.csr_matrix
    shape = state["_shape"] if "_shape" in state else state["shape"]
    matrix = kind((state["data"], state["indices"], state["indptr"]), shape=tuple(int(n) for n in shape))
    matrix.check_format(full_check=True)
    return matrix.toarray()


def _chumpy(name: str, state: dict[str, Any]) -> np.ndarray:
    """chumpy's array, or a selection of one -> the numbers it stands for."""
    if name.endswith(".Ch"):
        return np.asarray(state["x"])
    picked = np.asarray(state["a"]).ravel()[np.asarray(state["idxs"]).ravel()]
    return picked.reshape(state["preferred_shape"]) if state.get("preferred_shape") is not None else picked
