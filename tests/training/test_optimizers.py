"""Optimizers by name, their learning rates, and SOAP with an eigenbasis for each side of a kernel."""

import pytest
import torch
from pytorch_optimizer import SOAP
from small_networks import loss_of, network, step

from restore_env.toolbox.networks import EightLayerCNN, ThreeLayerCNN
from restore_env.training.optimizers import ConvSOAP, learning_rate, new_optimizer


@pytest.mark.parametrize("kind", [ThreeLayerCNN, EightLayerCNN])
def test_its_tensors_are_the_networks_kernels(kind):
    module = network(kind)
    optimizer = ConvSOAP(module.parameters(), 0.1)
    for tensor, parameter in zip(optimizer.tensors, module.parameters(), strict=True):
        assert tensor.data_ptr() == parameter.data_ptr()
        if parameter.ndim == 4:
            outputs, inputs, height, width = parameter.shape
            assert tensor.shape == (outputs, height * width, inputs)
            assert torch.equal(tensor[1].view(height, width, inputs), parameter[1].permute(1, 2, 0))
        else:
            assert torch.equal(tensor, parameter)


@pytest.mark.parametrize("kind", [ThreeLayerCNN, EightLayerCNN])
def test_a_step_changes_every_parameter_of_the_network(kind):
    module = network(kind)
    optimizer = ConvSOAP(module.parameters(), 0.01)
    before = [parameter.detach().clone() for parameter in module.parameters()]
    for _ in range(2):  # the first step finds the eigenbases only
        step(optimizer, module)
    for old, parameter in zip(before, module.parameters(), strict=True):
        assert not torch.equal(old, parameter)


def test_is_soap_of_the_tensors():
    module = network()
    optimizer = ConvSOAP(module.parameters(), 0.01)
    copies = [torch.nn.Parameter(tensor.detach().clone()) for tensor in optimizer.tensors]
    plain = SOAP(copies, 0.01, weight_decay=0.0)
    for _ in range(12):  # eigenbases are updated every ten
        optimizer.zero_grad()
        loss_of(module).backward()
        for copy, parameter in zip(copies, module.parameters(), strict=True):
            gradient = parameter.grad
            unfolded = gradient.permute(0, 2, 3, 1).flatten(1, 2) if gradient.ndim == 4 else gradient
            copy.grad = unfolded.clone()
        optimizer.step()
        plain.step()
    for copy, tensor in zip(copies, optimizer.tensors, strict=True):
        torch.testing.assert_close(tensor, copy)


def test_the_loss_falls_faster_than_with_adam():
    losses = {}
    for kind in (ConvSOAP, torch.optim.Adam):
        module = network(wide=8, narrow=8)
        optimizer = kind(module.parameters(), 3e-3)
        losses[kind] = [step(optimizer, module) for _ in range(60)]
        assert losses[kind][-1] < 0.5 * losses[kind][0]
    assert losses[ConvSOAP][-1] < 0.8 * losses[torch.optim.Adam][-1]


def test_each_side_of_a_kernel_has_an_eigenbasis_unless_it_is_too_large(monkeypatch):
    monkeypatch.setattr(ConvSOAP, "LARGEST", 30)
    module = network(wide=4, narrow=3)  # kernels of 9x9 with 3 inputs, and of 5x5 with 4 and with 3
    optimizer = ConvSOAP(module.parameters(), 0.01)
    step(optimizer, module)
    sides = [[len(basis) for basis in optimizer.state[tensor]["Q"]] for tensor in optimizer.tensors]
    assert sides == [[4, 0, 3], [0], [3, 25, 4], [0], [3, 25, 3], [0]]


def test_forgets_gradients():
    module = network()
    optimizer = ConvSOAP(module.parameters(), 0.01)
    loss_of(module).backward()
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in module.parameters())
    before = [parameter.detach().clone() for parameter in module.parameters()]
    optimizer.step()
    assert all(torch.equal(*pair) for pair in zip(before, module.parameters(), strict=True))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_both_usual_layouts_are_updated(layout):
    module = network().to(memory_format=layout)
    before = [parameter.detach().clone() for parameter in module.parameters()]
    optimizer = ConvSOAP(module.parameters(), 0.01)
    for _ in range(2):
        step(optimizer, module)
    assert not any(torch.equal(*pair) for pair in zip(before, module.parameters(), strict=True))


def test_a_layout_that_shares_no_memory_is_refused():
    kernel = torch.nn.Parameter(torch.zeros(3, 4, 5, 5).transpose(2, 3))
    with pytest.raises(ValueError, match=r"a parameter \(3, 4, 5, 5\) is laid out in an unusual way"):
        ConvSOAP([kernel], 0.01)


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [0.8, 0.8, 0.8, 0.8, 0.8]),
        ("cosine", [0.8, 0.7121320, 0.5, 0.2878680, 0.2]),
        ("exponential", [0.8, 0.5656854, 0.4, 0.2828427, 0.2]),
        ("steps", [0.8, 0.08, 0.008, 0.0008, 0.0008]),
    ],
)
def test_the_learning_rate_falls_as_its_schedule_says(schedule, rates):
    final = 0.2
    found = [learning_rate(schedule, 0.8, progress, 9, 0, final) for progress in (0.0, 0.25, 0.5, 0.75, 1.5)]
    assert found == pytest.approx(rates)
    rising = [learning_rate(schedule, 0.8, 0.25, updates, 4, final) for updates in (0, 1, 3, 8)]
    assert rising == pytest.approx([rates[1] * share for share in (0.25, 0.5, 1.0, 1.0)])


@pytest.mark.parametrize("name", ["soap", "adam", "sgd", "plain-sgd"])
def test_a_new_optimizer_has_its_learning_rate(name):
    optimizer = new_optimizer(name, [torch.nn.Parameter(torch.ones(2, 2))], 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25]
