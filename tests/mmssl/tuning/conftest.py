import pytest


@pytest.fixture
def write_plan(tmp_path):
    """A small search over BPR-MF, as files; changes replace whole keys, None takes one out."""

    def write(**changes):
        (tmp_path / "bpr.yaml").write_text("model: bpr_mf\nembedding_dim: 8\n")
        plan = {
            "config": "bpr.yaml",
            "settings": "{optimiser.epochs: 3, optimiser.batch_size: 64,"
            " selection_metric: ndcg@10}",
            "trials": 5,
            "random_trials": 3,
            "space": "\n  optimiser.learning_rate: {type: float, low: 0.0005, high: 0.1, log: true}"
            "\n  embedding_dim: {type: int, low: 4, high: 16}"
            "\n  optimiser.schedule: {type: choice, values: [constant, linear]}",
        } | changes
        lines = [f"{key}: {value}" for key, value in plan.items() if value is not None]
        (tmp_path / "plan.yaml").write_text("\n".join(lines) + "\n")
        return tmp_path / "plan.yaml"

    return write
