import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from extract.encoders.batching import placed, run_by_shape


@settings(deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=20), st.integers(1, 5))
def test_order_is_kept_and_shapes_never_mix(lengths, limit):
    items = [{"x": torch.full((n,), float(i))} for i, n in enumerate(lengths)]
    seen = []

    def forward(stacked):
        seen.append(stacked["x"].shape)
        return stacked["x"].sum(1, keepdim=True)

    results = run_by_shape(items, forward, limit)

    assert [float(r) for r in results] == [float(i * n) for i, n in enumerate(lengths)]
    assert all(shape[0] <= limit for shape in seen)
    assert sum(shape[0] for shape in seen) == len(lengths)


def test_all_names_are_stacked_together():
    items = [{"x": torch.tensor([1.0]), "flag": torch.tensor(i)} for i in range(3)]
    results = run_by_shape(items, lambda s: s["x"] * s["flag"].unsqueeze(1), 10)
    assert torch.cat(results).tolist() == [0.0, 1.0, 2.0]


def test_a_model_that_loses_rows_is_noticed():
    items = [{"x": torch.tensor([1.0])}] * 3
    with pytest.raises(ValueError, match="shorter"):
        run_by_shape(items, lambda stacked: stacked["x"][:2], 10)


def test_floating_inputs_take_the_modules_dtype_and_others_keep_theirs():
    module = torch.nn.Linear(2, 2).to(torch.bfloat16)
    inputs = placed({"x": torch.zeros(1, 2), "ids": torch.zeros(1, dtype=torch.long)}, module)
    assert inputs["x"].dtype == torch.bfloat16
    assert inputs["ids"].dtype == torch.long
