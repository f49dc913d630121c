"""One network shared out over several processes, so that none holds it whole."""

from __future__ import annotations

import re
from typing import TypeVar

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from textmill.model.optimizers import LAYER_NUMBER

NetworkT = TypeVar("NetworkT", bound=nn.Module)


def shard(network: NetworkT, mesh: DeviceMesh) -> NetworkT:
    """Shares out a network's weights, gradients and optimizer state; in place.

    Each numbered layer is gathered when it is computed, and all else at once (Zhao et al., 2023,
    "PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel"; this is its second version,
    which keeps parameters apart, with their names).

    Args:
        network: The network, the same on each process.
        mesh: The processes, in one row.
    """
    for name, module in network.named_modules():
        if re.fullmatch(rf".*{LAYER_NUMBER.pattern}", f".{name}."):
            fully_shard(module, mesh=mesh)
    fully_shard(network, mesh=mesh)
    return network


def whole(tensor: Tensor) -> Tensor:
    """The whole of a tensor that is shared out; every process must ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
