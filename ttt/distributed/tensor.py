"""Cuts layers over a tensor axis, as a model's plan says, by torch's DTensor.

Between two cut layers each process has its share: of the heads, of the neurons, or, where norms are
cut, of the positions of every sequence ("sequence parallel", Korthikanti et al. 2022,
arXiv:2205.05198). A model's code sees plain tensors; hooks of its modules exchange them. The logits
alone are a DTensor, so that the loss is computed on each process's share of the vocabulary.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)

from ttt.protocols import Style

_POSITIONS, _VOCABULARY = Shard(1), Shard(-1)


class _Gather(ParallelStyle):
    """A module's first input has all positions, of which its caller has a share."""

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        def gathered(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            part = DTensor.from_local(inputs[0], device_mesh, [_POSITIONS], run_check=False)
            return (part.redistribute(placements=[Replicate()]), *inputs[1:])

        module.register_forward_pre_hook(gathered)
        return module


def cut(model: nn.Module, plan: Mapping[str, Style], mesh: DeviceMesh) -> None:
    """Cut the layers that a plan names; weights that are tied stay so.

    Args:
        model: On the device of the mesh, with the same weights on every process.
        plan: `ttt.protocols.Plan.tensor`.
        mesh: The tensor axis.
    """
    tied = _tied(model)
    parallelize_module(model, mesh, _styles(plan))
    for first, *others in tied:
        for name in others:
            _set(model, name, model.get_parameter(first))
    for name, style in plan.items():
        if style == "logits":
            model.get_submodule(name).register_forward_hook(_whole_if_judged)


def _whole_if_judged(module: nn.Module, _: Any, logits: DTensor) -> Tensor:
    """What is evaluated is plain; a loss takes the parts."""
    return logits if module.training else logits.full_tensor()


def _styles(plan: Mapping[str, Style]) -> dict[str, ParallelStyle]:
    """Torch's word for each of ours."""
    between: Placement = _POSITIONS if "norm" in plan.values() else Replicate()
    kinds: dict[Style, ParallelStyle] = {
        "column": ColwiseParallel(),
        "row": RowwiseParallel(output_layouts=between),
        "table": RowwiseParallel(input_layouts=Replicate(), output_layouts=between),
        "norm": SequenceParallel(use_local_output=True),
        "gather": _Gather(),
        "logits": ColwiseParallel(
            input_layouts=between, output_layouts=_VOCABULARY, use_local_output=False
        ),
    }
    return {name: kinds[style] for name, style in plan.items()}


def _tied(model: nn.Module) -> list[list[str]]:
    """The names of each parameter that has several."""
    names: dict[Tensor, list[str]] = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        names.setdefault(weight, []).append(name)
    return [each for each in names.values() if len(each) > 1]


def _set(model: nn.Module, name: str, weight: nn.Parameter) -> None:
    owner, _, leaf = name.rpartition(".")
    model.get_submodule(owner).register_parameter(leaf, weight)
