"""What each process of ``test_launched.py`` runs: checks that need several of them.

Usage: launched.py DATASET OUT; writes OUT/<index>.json, .safetensors and .connected.
"""

import atexit
import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import save_file
from scipy.sparse import csr_array

from extract.errors import InputError
from mmssl.config import TrainingConfig
from mmssl.data.dataset import Dataset
from mmssl.evaluation.evaluate import evaluate_scores
from mmssl.evaluation.ranking import InnerProduct, top_k
from mmssl.processes import Processes
from mmssl.training.accelerator import make_accelerator
from mmssl.training.learner import Learner

MANY_ITEMS = 480


def refusal(processes: Processes, error: Exception, of: int) -> list[str]:
    """What this process hears when one of them fails: the kind of the error and its text."""

    def work() -> None:
        if processes.index == of:
            raise error

    try:
        processes.agree(work)
    except (InputError, FloatingPointError, OSError) as heard:
        return [type(heard).__name__, str(heard)]
    return []


def main(data: str, out: Path) -> None:
    """All checks, one after the other."""
    # What is registered first is done last.
    index = os.environ["RANK"]
    atexit.register(lambda: (out / f"{index}.connected").write_text(str(dist.is_initialized())))
    dataset = Dataset.open(data)
    # With dropout on both sides, and batches and blocks that do not divide evenly.
    config = TrainingConfig.load(
        None,
        [
            "backbone.embedding_dim=8",
            "optimiser.batch_users=13",
            "adversarial.critic_users=7",
            "adversarial.critic_items=16",
            "relations.schedule=steps",
            "relations.rate=0.1",
        ],
    )
    accelerator = make_accelerator("cpu", "full")
    learner = Learner(config, dataset.matrix("train"), dataset.features, accelerator)
    processes = learner.processes
    losses = [learner.step(learner.sampler.draw()) for _ in range(4)]
    learner.model.relations.begin_epoch()
    for _ in range(2):
        learner.step(learner.sampler.draw())
    tensors, _ = learner.state()

    # Final vectors, random but the same in all processes.
    draws = torch.Generator().manual_seed(3)
    users, items = (
        torch.randn(len(n), 6, generator=draws) for n in (dataset.user_ids, dataset.item_ids)
    )
    seen = dataset.matrix("train")
    evaluation = evaluate_scores(
        InnerProduct(users, items), dataset.val, seen, block=7, processes=processes
    )
    # So many items that a look at a sixteenth of them spares some users' rankings.
    many = torch.randn(MANY_ITEMS, 6, generator=draws)
    nothing = csr_array((len(users), MANY_ITEMS), dtype=np.float32)
    glanced = evaluate_scores(
        InnerProduct(users, many), dataset.val, nothing, [5], block=7, processes=processes
    )
    lists, scores = top_k(
        InnerProduct(users, items), np.arange(len(users)), seen, 30, block=3, processes=processes
    )
    # Sparse gradients of common draws: the same rows everywhere, one of them twice.
    rows = torch.tensor([[4, 1, 4]])
    sparse = torch.sparse_coo_tensor(rows, torch.full((3, 2), processes.index + 1.0), (6, 2))
    gradients = [sparse, None, torch.full((2**18,), processes.index + 1.0)]
    processes.add_gradients(gradients)
    facts = {
        "losses": losses,
        "edges": {m: graph.nnz for m, graph in learner.model.relations.edges.items()},
        "metrics": evaluation.metrics,
        "hears": [
            refusal(processes, InputError("image.npy: gone"), of=1),
            refusal(processes, FloatingPointError("a score is NaN"), of=1),
            refusal(processes, OSError(28, "No space left on device"), of=0),
        ],
        "large": [float(gradients[2].min()), float(gradients[2].max())],
    }
    (out / f"{processes.index}.json").write_text(json.dumps(facts))
    tensors = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    of_users = torch.from_numpy(np.stack(list(evaluation.per_user.values())))
    found = {"lists": torch.from_numpy(lists), "scores": torch.from_numpy(scores)}
    found |= {"many": many, "glanced": torch.from_numpy(glanced.per_user["mrr@5"])}
    found |= {"per_user": of_users, "sparse": sparse.to_dense(), "users": users, "items": items}
    save_file(tensors | found, out / f"{processes.index}.safetensors")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
