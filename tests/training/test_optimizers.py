"""SOAP on kernels as matrices."""

import pytest
import torch
from pytorch_optimizer import SOAP
from small_networks import loss_of, network, step

from restore_env.toolbox.networks import EightLayerCNN, ThreeLayerCNN
from restore_env.training.optimizers import MatrixSOAP


@pytest.mark.parametrize("kind", [ThreeLayerCNN, EightLayerCNN])
def test_its_matrices_are_the_networks_kernels(kind):
    module = network(kind)
    optimizer = MatrixSOAP(module.parameters(), 0.1)
    for matrix, parameter in zip(optimizer.matrices, module.parameters(), strict=True):
        assert matrix.data_ptr() == parameter.data_ptr()
        if parameter.ndim == 4:
            outputs, inputs, height, width = parameter.shape
            assert matrix.shape == (outputs, height * width * inputs)
            assert torch.equal(matrix[1].view(height, width, inputs), parameter[1].permute(1, 2, 0))
        else:
            assert torch.equal(matrix, parameter)


@pytest.mark.parametrize("kind", [ThreeLayerCNN, EightLayerCNN])
def test_a_step_changes_every_parameter_of_the_network(kind):
    module = network(kind)
    optimizer = MatrixSOAP(module.parameters(), 0.01)
    before = [parameter.detach().clone() for parameter in module.parameters()]
    for _ in range(2):  # the first step finds the eigenbases only
        step(optimizer, module)
    for old, parameter in zip(before, module.parameters(), strict=True):
        assert not torch.equal(old, parameter)


def test_is_soap_of_the_matrices():
    module = network()
    optimizer = MatrixSOAP(module.parameters(), 0.01)
    copies = [torch.nn.Parameter(matrix.detach().clone()) for matrix in optimizer.matrices]
    plain = SOAP(copies, 0.01, weight_decay=0.0)
    for _ in range(12):  # eigenbases are updated every ten
        optimizer.zero_grad()
        loss_of(module).backward()
        for copy, parameter in zip(copies, module.parameters(), strict=True):
            gradient = parameter.grad
            rows = gradient.permute(0, 2, 3, 1).flatten(1) if gradient.ndim == 4 else gradient
            copy.grad = rows.clone()
        optimizer.step()
        plain.step()
    for copy, matrix in zip(copies, optimizer.matrices, strict=True):
        torch.testing.assert_close(matrix, copy)


def test_the_loss_falls_faster_than_with_adam():
    losses = {}
    for kind in (MatrixSOAP, torch.optim.Adam):
        module = network(wide=8, narrow=8)
        optimizer = kind(module.parameters(), 3e-3)
        losses[kind] = [step(optimizer, module) for _ in range(60)]
        assert losses[kind][-1] < 0.5 * losses[kind][0]
    assert losses[MatrixSOAP][-1] < 0.8 * losses[torch.optim.Adam][-1]


def test_the_largest_matrices_have_no_eigenbasis(monkeypatch):
    monkeypatch.setattr(MatrixSOAP, "LARGEST", 100)
    module = network(wide=4, narrow=3)  # kernels of 9x9x3 = 243, 5x5x4 = 100 and 5x5x3 = 75 values
    optimizer = MatrixSOAP(module.parameters(), 0.01)
    step(optimizer, module)
    sides = [[len(basis) for basis in optimizer.state[matrix]["Q"]] for matrix in optimizer.matrices]
    assert sides == [[4, 0], [0], [3, 100], [0], [3, 75], [0]]


def test_all_but_one_kernel_of_the_papers_networks_have_eigenbases():
    for kind, over in ((ThreeLayerCNN, []), (EightLayerCNN, [1600])):
        optimizer = MatrixSOAP(kind().to(memory_format=torch.channels_last).parameters(), 0.01)
        sides = [side for matrix in optimizer.matrices if matrix.ndim == 2 for side in matrix.shape]
        assert [side for side in sides if side > MatrixSOAP.LARGEST] == over


def test_forgets_gradients():
    module = network()
    optimizer = MatrixSOAP(module.parameters(), 0.01)
    loss_of(module).backward()
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in module.parameters())
    before = [parameter.detach().clone() for parameter in module.parameters()]
    optimizer.step()
    assert all(torch.equal(*pair) for pair in zip(before, module.parameters(), strict=True))


def test_a_network_that_is_not_laid_out_channels_last_is_refused():
    with pytest.raises(ValueError, match="not laid out channels last"):
        MatrixSOAP(ThreeLayerCNN(4, 3).parameters(), 0.01)
