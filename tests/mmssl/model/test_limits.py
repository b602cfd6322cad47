import numpy as np
import pytest
import scipy.sparse as sp
import torch

from extract.errors import InputError
from mmssl.config import TrainingConfig
from mmssl.data.dataset import ModalityFeatures
from mmssl.model.limits import refuse_what_is_too_large
from mmssl.model.mmssl import MMSSL

ALL = "adversarial.critic_items=all"


@pytest.mark.parametrize(
    ("settings", "n_items", "message"),
    [
        # 256 x 1,000,000 x (4 x 2 + 8) x 4 bytes of rows, 4 x 1,000,000 x 128 x 4 of weights
        ((ALL,), 1_000_000, "about 17 GiB, more than the 8 GiB that are allowed"),
        # 4 x 25,000 x (100,000 + 12,500) x 4 bytes of weights, 1.5 GiB of rows: 43 GiB
        ((ALL, "adversarial.critic_hidden=catalogue"), 100_000, "about 43 GiB"),
        # The weights are too many however few items a row has: 4 x 25,000 x (100,000 + 12,500) x 4
        (("adversarial.critic_hidden=catalogue",), 100_000, "about 42 GiB"),
        # As many items as `all` has, by number.
        (("adversarial.critic_items=1000000",), 1_000_000, "about 17 GiB"),
        # 8 x 2 x 40,000^2 x 4 bytes
        (("optimiser.batch_users=90000", "adversarial.weight=0"), 20, "about 95 GiB"),
        # 8 x 40,000^2 x 4 bytes: of the users, who are more than the items
        (
            ("optimiser.batch_users=90000", "noise_contrast.weight=1", "contrast.weight=0"),
            20,
            "about 48 GiB",
        ),
        # By interactions a batch may hold more items than users: 8 x 90,000^2 x 4 bytes
        (
            (
                *("optimiser.batch_users=90000", "noise_contrast.weight=1", "contrast.weight=0"),
                "optimiser.batches=interactions",
            ),
            200_000,
            "about 241 GiB",
        ),
        # 6 x 1024 x 1,000,000 x 4 bytes: 23 GiB
        (("relations.schedule=steps",), 1_000_000, "about 23 GiB"),
    ],
)
def test_what_holds_rows_over_a_large_catalogue_is_refused_in_one_line(settings, n_items, message):
    with pytest.raises(InputError) as error:
        refuse_what_is_too_large(TrainingConfig.load(None, settings), 40_000, n_items, 2)
    text = str(error.value)
    assert message in text
    assert f"40,000 users and {n_items:,} items" in text
    assert text.startswith(settings[0])
    setting, _, now = settings[0].partition("=")
    assert f"; set {setting}=" in text
    assert not text.endswith(f"={now}")
    assert "\n" not in text


@pytest.mark.parametrize(
    ("settings", "n_items"),
    [
        ((), 10_000_000),
        ((ALL,), 6_710),
        ((ALL, "adversarial.weight=0"), 10_000_000),
        ((ALL, "adversarial.critic_hidden=catalogue", "relations.schedule=steps"), 18_000),
        ((ALL, "optimiser.batch_users=64"), 1_000_000),
        # 1,000 users have no more than 1,000 positives in a batch, however many items there are.
        (("optimiser.batch_users=90000", "noise_contrast.weight=1"), 1_000_000),
    ],
)
def test_what_fits_is_not_refused(settings, n_items):
    refuse_what_is_too_large(TrainingConfig.load(None, settings), 1_000, n_items, 2)


def test_the_model_refuses_before_it_allocates():
    n_items = 3_000_000
    one = ModalityFeatures(np.zeros((n_items, 1), np.float32), np.ones(n_items, bool), None, "")
    with pytest.raises(InputError, match="set adversarial"):
        MMSSL(
            TrainingConfig.load(None, [ALL]),
            sp.csr_array((2, n_items)),
            {"image": one},
            torch.Generator(),
        )
