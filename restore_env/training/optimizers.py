"""SOAP, Adam in the eigenbasis of Shampoo (Vyas et al., arXiv 2409.11321), for small convolutional networks."""

from collections.abc import Callable, Iterable

import torch
from pytorch_optimizer import SOAP
from torch import Tensor, nn


class MatrixSOAP(SOAP):
    """SOAP that sees a convolution's kernel as one matrix, (outputs, height x width x inputs).

    With one eigenbasis for the patches that a kernel looks at and one for its outputs, tools of this size reach in two
    minutes what Adam needs ten for. Networks must be laid out channels last, so that the matrices share their memory.
    """

    LARGEST = 900
    """Side of the largest matrix that gets an eigenbasis: all but the last convolution of the eight-layer network."""

    def __init__(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> None:
        self.parameters = list(parameters)
        self.matrices = [nn.Parameter(_matrix(parameter.detach())) for parameter in self.parameters]
        for matrix, parameter in zip(self.matrices, self.parameters, strict=True):
            if matrix.data_ptr() != parameter.data_ptr():
                raise ValueError("the network is not laid out channels last")
        super().__init__(self.matrices, learning_rate, weight_decay=0.0, max_precondition_dim=self.LARGEST)

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update the parameters by their gradients."""
        for matrix, parameter in zip(self.matrices, self.parameters, strict=True):
            matrix.grad = None if parameter.grad is None else _matrix(parameter.grad)
        return super().step(closure)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None


def _matrix(tensor: Tensor) -> Tensor:
    """A kernel (o, i, h, w) as (o, h x w x i), in the same memory if it is laid out channels last; a bias as it is."""
    return tensor.permute(0, 2, 3, 1).reshape(len(tensor), -1) if tensor.ndim == 4 else tensor


def new_optimizer(name: str, parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
    """An optimizer by its name, one of `CHOICES`."""
    if name == "soap":
        return MatrixSOAP(parameters, learning_rate)
    if name == "adam":
        return torch.optim.Adam(parameters, learning_rate)
    return torch.optim.SGD(parameters, learning_rate, momentum=0.9 if name == "sgd" else 0.0)
