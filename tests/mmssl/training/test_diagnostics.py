import torch

from mmssl.training.diagnostics import parameter_gradient_norms, part_gradient_norms


def test_each_part_by_itself_over_all_parameters_together():
    first, second = (torch.nn.Parameter(torch.tensor([v])) for v in (2.0, 3.0))
    parts = {
        "both": 3 * first.sum() + 4 * second.sum(),
        "one": second.square().sum(),
        "none": torch.tensor(1.0, requires_grad=True) * 2,
    }
    norms = part_gradient_norms(parts, [first, second])
    assert norms == {"both": 5.0, "one": 6.0, "none": 0.0}
    # The graphs are kept, so that training can go on with the same parts.
    sum(parts.values()).backward()
    assert second.grad.item() == 10.0


def test_parameters_by_name_and_zero_without_a_gradient():
    module = torch.nn.Linear(2, 1)
    module.weight.grad = torch.tensor([[3.0, 4.0]])
    assert parameter_gradient_norms(module) == {"weight": 5.0, "bias": 0.0}
