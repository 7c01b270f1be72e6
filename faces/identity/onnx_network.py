"""A recogniser's ONNX graph as a torch module, so that gradients pass through it into the picture.

The published recognisers (IResNets of InsightFace and their kin) use a dozen operators, which stand below. A graph
with any other runs in onnxruntime alone: it embeds and judges, but cannot be a loss.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from faces.errors import SamaeError

Values = dict[str, torch.Tensor]
Operator = Callable[[list[torch.Tensor], dict[str, Any]], torch.Tensor]


def _conv(x: list[torch.Tensor], how: dict[str, Any]) -> torch.Tensor:
    pads = list(how.get("pads", (0, 0, 0, 0)))
    padded = F.pad(x[0], (pads[1], pads[3], pads[0], pads[2])) if any(pads) else x[0]
    bias = x[2] if len(x) > 2 else None
    stride, dilation = tuple(how.get("strides", (1, 1))), tuple(how.get("dilations", (1, 1)))
    return F.conv2d(padded, x[1], bias, stride, 0, dilation, int(how.get("group", 1)))


def _norm(x: list[torch.Tensor], how: dict[str, Any]) -> torch.Tensor:
    return F.batch_norm(x[0], x[3], x[4], x[1], x[2], False, 0.0, float(how.get("epsilon", 1e-5)))


def _gemm(x: list[torch.Tensor], how: dict[str, Any]) -> torch.Tensor:
    a = x[0].T if how.get("transA") else x[0]
    b = x[1].T if how.get("transB") else x[1]
    made = float(how.get("alpha", 1.0)) * (a @ b)
    return made + float(how.get("beta", 1.0)) * x[2] if len(x) > 2 else made


def _prelu(x: list[torch.Tensor], how: dict[str, Any]) -> torch.Tensor:
    slope = x[1].reshape(1, -1, *[1] * (x[0].dim() - 2))
    return torch.where(x[0] >= 0, x[0], slope * x[0])


def _flatten(x: list[torch.Tensor], how: dict[str, Any]) -> torch.Tensor:
    return x[0].flatten(int(how.get("axis", 1)))


OPERATORS: dict[str, Operator] = {
    "Add": lambda x, how: x[0] + x[1],
    "BatchNormalization": _norm,
    "Conv": _conv,
    "Div": lambda x, how: x[0] / x[1],
    "Dropout": lambda x, how: x[0],
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda x, how: x[0].mean((2, 3), keepdim=True),
    "Identity": lambda x, how: x[0],
    "MatMul": lambda x, how: x[0] @ x[1],
    "Mul": lambda x, how: x[0] * x[1],
    "PRelu": _prelu,
    "Relu": lambda x, how: F.relu(x[0]),
    "Sigmoid": lambda x, how: torch.sigmoid(x[0]),
    "Sub": lambda x, how: x[0] - x[1],
}


class OnnxNetwork(nn.Module):
    """The graph of a file with frozen weights: (N, 3, 112, 112) -> (N, dim).

    Raises:
        SamaeError: the package onnx is missing, or the graph uses an operator that is not here.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        try:
            import onnx
            from onnx import numpy_helper
        except ImportError:
            raise SamaeError(
                "gradients through an ONNX recogniser need the package onnx: pip install onnx, or choose another "
                "identity.encoder"
            ) from None
        graph = onnx.load(str(path)).graph
        unknown = sorted({node.op_type for node in graph.node} - set(OPERATORS) - {"Constant"})
        if unknown:
            raise SamaeError(f"{path} uses {', '.join(unknown)}, through which gradients do not pass here")
        self._names: dict[str, str] = {}
        for entry in graph.initializer:
            self._keep(entry.name, torch.from_numpy(numpy_helper.to_array(entry).copy()))
        self._nodes: list[tuple[str, list[str], str, dict[str, Any]]] = []
        for node in graph.node:
            how = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "Constant":
                self._keep(node.output[0], torch.from_numpy(numpy_helper.to_array(how["value"]).copy()))
            else:
                self._nodes.append((node.op_type, list(node.input), node.output[0], how))
        self._input = next(entry.name for entry in graph.input if entry.name not in self._names)
        self._output = graph.output[0].name
        self.requires_grad_(False)

    def _keep(self, name: str, value: torch.Tensor) -> None:
        self._names[name] = f"value_{len(self._names)}"
        self.register_buffer(self._names[name], value, persistent=False)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """(N, 3, 112, 112) RGB in -1..1 -> (N, dim), not of unit length."""
        values: Values = {name: getattr(self, kept) for name, kept in self._names.items()}
        values[self._input] = crops
        for operator, inputs, output, how in self._nodes:
            values[output] = OPERATORS[operator]([values[name] for name in inputs if name], how)
        return values[self._output]
