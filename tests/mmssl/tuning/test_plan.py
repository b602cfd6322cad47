import pytest

from extract.errors import InputError
from mmssl.tuning.plan import TuningPlan


def test_a_plan_gives_configurations(write_plan):
    file = write_plan()
    plan = TuningPlan.load(file)
    config = plan.configuration(file, {"optimiser.learning_rate": 0.02, "embedding_dim": 5})
    assert (config.model, config.embedding_dim, config.epochs) == ("bpr_mf", 5, 3)
    assert config.optimiser.learning_rate == 0.02
    base = plan.configuration(file, {})
    assert plan.own_values(base) == {
        "optimiser.learning_rate": 1e-3,
        "embedding_dim": 8,
        "optimiser.schedule": "constant",
    }


def test_a_configuration_outside_the_space_is_no_first_trial(write_plan):
    file = write_plan(space="\n  embedding_dim: {type: int, low: 9, high: 16}")
    plan = TuningPlan.load(file)
    assert plan.own_values(plan.configuration(file, {})) is None


def test_more_trials_are_the_same_search_and_another_space_is_not(write_plan):
    file = write_plan()
    plan = TuningPlan.load(file)
    base = plan.configuration(file, {})
    key = plan.key(base, "digest")
    assert plan.model_copy(update={"trials": 50}).key(base, "digest") == key
    assert plan.model_copy(update={"seed": 1}).key(base, "digest") != key
    assert plan.key(base, "other data") != key
    assert plan.key(plan.configuration(file, {"embedding_dim": 9}), "digest") != key


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trails": 3}, "unknown setting 'trails'; did you mean 'trials'?"),
        ({"config": "none.yaml"}, "none.yaml: no such configuration file"),
        ({"space": None}, "space: Field required"),
        ({"space": "{}"}, "space: "),
        (
            {"space": "\n  embedding_dim: {type: int, low: 8, high: 8}"},
            "low 8 must be below",
        ),
        ({"space": "\n  embedding_dim: {type: float, low: 0, high: 1, log: true}"}, "above 0"),
        ({"space": "\n  embedding_dim: {type: choice, values: [8]}"}, "at least 2 items"),
        ({"space": "\n  embedding_dim: {type: odd, low: 1, high: 2}"}, "embedding_dim"),
        (
            {"space": "\n  embeding_dim: {type: int, low: 1, high: 2}"},
            "did you mean 'embedding_dim'?",
        ),
        ({"space": "\n  embedding_dim: {type: int, low: 0, high: 2}"}, "embedding_dim=0"),
        ({"settings": "{embedding_dim: 4}"}, "'embedding_dim' stands in settings and in space"),
        ({"trials": 0}, "trials: "),
    ],
)
def test_a_wrong_plan_is_one_line_that_says_what_is_wrong(write_plan, changes, message):
    with pytest.raises(InputError) as error:
        TuningPlan.load(write_plan(**changes))
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert "plan.yaml" in str(error.value)


def test_a_model_without_epochs_cannot_be_pruned(write_plan, tmp_path):
    file = write_plan(settings="{}", space="\n  seed: {type: int, low: 1, high: 3}")
    (tmp_path / "bpr.yaml").write_text("model: popularity\n")
    with pytest.raises(InputError, match="set pruning: false"):
        TuningPlan.load(file)
