import pytest

from extract.errors import InputError
from mmssl.config import TrainingConfig


def test_a_configuration_survives_its_own_yaml(tmp_path):
    config = TrainingConfig.load(None, ["seed=3", "features.modalities=[image, text]"])
    path = tmp_path / "config.yaml"
    path.write_text(config.to_yaml())
    assert TrainingConfig.load(path) == config


def test_arguments_win_over_the_file(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("seed: 1\ncontrast:\n  weight: 0.5\n  temperature: 0.2\n")
    config = TrainingConfig.load(path, ["seed=2", "contrast.weight=1e-3"])
    assert (config.seed, config.contrast.weight, config.contrast.temperature) == (2, 1e-3, 0.2)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("contrast.wieght=1", "unknown setting 'contrast.wieght'; did you mean 'contrast.weight'?"),
        ("learning_rate=1", "did you mean 'optimiser.learning_rate'?"),
        ("seeed=1", "did you mean 'seed'?"),
        ("optimiser.lr=1", "optimiser has: learning_rate, "),
        ("qqqqq=1", "--print-config shows all settings"),
        ("seed", "a setting is written key.sub=value"),
        ("seed.sub=1", "seed: Input should be a valid integer"),
        ("seed=[", "not readable as YAML"),
        ("seed=-1", "seed: Input should be greater than or equal to 0"),
        ("optimiser.epochs=0", "optimiser.epochs: "),
        ("features.dropout=1.0", "features.dropout: "),
        ("contrast.temperature=0", "contrast.temperature: "),
        ("contrast.weight=.inf", "contrast.weight: "),
        ("backbone.heads=5", "embedding_dim 64 must be a multiple of heads 5"),
        ("adversarial.critic_items=some", "adversarial.critic_items: "),
        ("backbone.attention=none", "'paper', 'identity' or 'scrambled'"),
        ("selection_metric=recall@21", "no metric 'recall@21'; there are: recall@10, "),
        ("features.modalities=[]", "name at least one modality"),
        ("backbone.fan_outs=[]", "backbone.fan_outs: "),
        ("backbone.fan_outs=[9, 8, 7, 6, 5, 4]", "6 entries for at most 5 hops"),
        ("features.modalities=[image, image]", "named twice"),
        ("optimiser=3", "this is a section"),
        ("precision=half", "'full', 'bf16' or 'fp16'"),
        ("name=2020-13-45", "not readable as YAML"),
        (f"seed={'x' * 5000}", "..."),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(setting, message):
    with pytest.raises(InputError) as error:
        TrainingConfig.load(None, [setting])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_one_modality_may_be_named_without_brackets():
    config = TrainingConfig.load(None, ["features.modalities=image"])
    assert config.features.modalities == ("image",)


def test_an_error_is_blamed_on_what_was_given(tmp_path):
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    with pytest.raises(InputError, match=r"^the settings given: seed"):
        TrainingConfig.load(None, ["seed=x"])
    with pytest.raises(InputError, match=r"config\.yaml and the settings given: seed"):
        TrainingConfig.load(tmp_path / "config.yaml", ["seed=x"])


@pytest.mark.parametrize(
    ("setting", "instead"),
    [
        ("adversarial.critic_weights=per_item", "adversarial.critic_weights=from_vectors"),
        ("adversarial.critic_items=all", "adversarial.critic_items=1024"),
        ("adversarial.critic_hidden=catalogue", "adversarial.critic_hidden=[128, 64]"),
        ("relations.schedule=steps", "relations.schedule=epochs"),
        ("backbone.attention=scrambled", "backbone.attention=paper"),
        ("precision=fp16", "precision=bf16"),
    ],
)
def test_what_sampled_propagation_does_not_go_with_is_refused_with_what_to_set(setting, instead):
    sampled = ["backbone.propagation=sampled", "adversarial.critic_weights=from_vectors"]
    TrainingConfig.load(None, [*sampled, instead])
    with pytest.raises(InputError) as error:
        TrainingConfig.load(None, [*sampled, setting])
    assert f"does not go with {setting}; set {instead}" in str(error.value)
    assert "\n" not in str(error.value)


def test_without_a_critic_its_form_does_not_matter():
    config = TrainingConfig.load(None, ["backbone.propagation=sampled", "adversarial.weight=0"])
    assert config.adversarial.critic_weights == "per_item"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["relations.schedule=steps", "relations.similarity=cosine"], "does not go with schedule"),
        (["adversarial.real_rows=observed", "adversarial.critic_items=8"], "critic_items=256 or"),
        (["noise_contrast.weight=1", "backbone.layers=0"], "set backbone.layers=1 or more"),
        (
            ["adversarial.critic_batch_norm=true", "optimiser.batches=interactions"],
            "set optimiser.batches=users",
        ),
    ],
)
def test_settings_that_would_be_ignored_or_break_an_equation_are_refused(settings, message):
    for one in settings:
        TrainingConfig.load(None, [one])
    with pytest.raises(InputError) as error:
        TrainingConfig.load(None, settings)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
