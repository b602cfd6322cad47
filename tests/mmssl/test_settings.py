"""Configuration files: what is read, over which base, and what ships."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from extract.errors import InputError
from mmssl.comparison.plan import ComparisonPlan
from mmssl.config import TrainingConfig
from mmssl.model.config import MMSSLConfig
from mmssl.settings import read_yaml, shipped
from mmssl.tuning.plan import TuningPlan

CONFIGS = Path(str(shipped(".")))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- a\n- b\n", "expected `key: value` lines, found list"),
        (b"seed: [1\n", "not readable as YAML"),
        (b"\xff\xfe", "not readable as YAML"),
        (b"[" * 3000, "not readable as YAML"),
        (b"name: 2020-13-45\n", "not readable as YAML"),
        (b"seed: !!python/object/apply:os.system ['true']\n", "not readable as YAML"),
    ],
)
def test_a_broken_file_is_one_error_that_names_it(tmp_path, content, message):
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"broken\.yaml") as error:
        TrainingConfig.load(path)
    assert message in str(error.value)


def test_a_missing_file_is_named():
    with pytest.raises(InputError, match=r"nowhere\.yaml: no such configuration file"):
        TrainingConfig.load(Path("nowhere.yaml"))


def test_an_empty_file_is_the_defaults(tmp_path):
    (tmp_path / "empty.yaml").touch()
    assert TrainingConfig.load(tmp_path / "empty.yaml") == MMSSLConfig()


# --- base ------------------------------------------------------------------------------------


def write(folder: Path, **files: str) -> Path:
    """Files by name; the first one's path."""
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder / f"{next(iter(files))}.yaml"


def test_a_file_holds_over_its_base_setting_by_setting(tmp_path):
    path = write(
        tmp_path,
        child="base: parent.yaml\nseed: 2\ncontrast:\n  weight: 0.5\n",
        parent="seed: 1\nname: parent\ncontrast:\n  weight: 0.1\n  temperature: 0.2\n",
    )
    assert read_yaml(path) == {
        "seed": 2,
        "name": "parent",
        "contrast": {"weight": 0.5, "temperature": 0.2},
    }
    config = TrainingConfig.load(path, ["contrast.temperature=0.3"])
    assert (config.contrast.weight, config.contrast.temperature) == (0.5, 0.3)


def test_a_base_may_have_a_base_and_is_found_beside_the_file_that_names_it(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "other").mkdir()
    write(tmp_path / "other", top="name: top\nseed: 1\n")
    write(tmp_path, middle="base: other/top.yaml\nseed: 2\n")
    path = write(tmp_path / "deep", low="base: ../middle.yaml\ncontrast:\n  weight: 0\n")
    assert read_yaml(path) == {"name": "top", "seed": 2, "contrast": {"weight": 0}}


def test_a_list_of_the_base_is_replaced_as_a_whole(tmp_path):
    path = write(
        tmp_path,
        child="base: parent.yaml\nfeatures:\n  modalities: [audio]\n",
        parent="features:\n  modalities: [image, text]\n",
    )
    assert read_yaml(path) == {"features": {"modalities": ["audio"]}}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a": "base: a.yaml\n"}, "a.yaml: base a.yaml leads back to where it came from"),
        (
            {"a": "base: b.yaml\n", "b": "base: c.yaml\n", "c": "base: ../x/b.yaml\n"},
            "c.yaml: base ../x/b.yaml leads back to where it came from",
        ),
        ({"a": "base: nowhere.yaml\n"}, "nowhere.yaml: no such configuration file"),
        ({"a": "base: b.yaml\n", "b": "- 1\n"}, "b.yaml: expected `key: value` lines, found list"),
        ({"a": "base: [b.yaml]\n"}, "a.yaml: base names one file, as `base: ../tiktok.yaml`"),
        ({"a": "base: 3\n"}, "a.yaml: base names one file"),
        ({"a": "base: false\n"}, "a.yaml: base names one file"),
        ({"a": "base: ''\n"}, "a.yaml: base names one file"),
        ({"a": "base:\n"}, "a.yaml: base names one file"),
        ({"a": 'base: "a\\0b"\n'}, "is no path"),
    ],
)
def test_a_base_that_cannot_be_used_is_one_line(tmp_path, files, message):
    (tmp_path / "x").mkdir()
    path = write(tmp_path / "x", **files)
    with pytest.raises(InputError) as error:
        read_yaml(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_base_is_no_setting_of_a_training(tmp_path):
    with pytest.raises(InputError, match="unknown setting 'base'"):
        TrainingConfig.load(None, ["base=tiktok.yaml"])
    path = write(tmp_path, child="base: parent.yaml\n", parent="seed: 4\n")
    assert "base" not in TrainingConfig.load(path).to_yaml()


keys = st.sampled_from(["a", "b", "c", "d"])
values = st.recursive(
    st.integers()
    | st.booleans()
    | st.text("xyz", max_size=3)
    | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
files = st.dictionaries(keys, values, max_size=4)


def leaves(tree: dict[str, Any], at: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Every path of keys that ends in a value or in a section that says nothing."""
    found = {}
    for key, value in tree.items():
        path = (*at, key)
        found |= leaves(value, path) if isinstance(value, dict) and value else {path: value}
    return found


@given(files, files)
def test_what_a_file_says_holds_and_what_it_does_not_say_is_its_bases(
    tmp_path_factory, below, above
):
    folder = tmp_path_factory.mktemp("base")
    path = write(
        folder,
        child=yaml.safe_dump({**above, "base": "parent.yaml"}),
        parent=yaml.safe_dump(below),
    )
    own, inherited = leaves(above), leaves(below)

    def overruled(at: tuple[str, ...], other: tuple[str, ...]) -> bool:
        # An empty section says nothing about a section of the base, and takes a value's place.
        if own[other] == {} and len(at) > len(other):
            return False
        return at[: len(other)] == other or other[: len(at)] == at

    # A value of the file takes the place of a section of its base, and a section that of a value.
    expected = {
        at: value
        for at, value in inherited.items()
        if not any(overruled(at, other) for other in own)
    }
    for at, value in own.items():
        section_below = any(other[: len(at)] == at and len(other) > len(at) for other in expected)
        if value != {} or not section_below:
            expected[at] = value
    assert leaves(read_yaml(path)) == expected


# --- what ships ------------------------------------------------------------------------------


def settings_of(name: str) -> dict[tuple[str, ...], Any]:
    return leaves(TrainingConfig.load(shipped(name)).model_dump(mode="json"))


@pytest.mark.parametrize("name", ["tiktok.yaml", "quickstart.yaml"])
def test_the_shipped_presets_load_with_every_part_on(name):
    config = TrainingConfig.load(shipped(name))
    assert config.contrast.weight >= 1e-4
    assert config.adversarial.weight >= 1e-5
    assert config.backbone.attention == "paper"
    assert config.relations.graph != "observed"


SHIPPED = sorted(
    str(path.relative_to(CONFIGS))
    for path in CONFIGS.rglob("*.yaml")
    if path.parent.name not in ("tune", "compare")
)


def test_every_shipped_file_loads_under_a_name_of_its_own():
    names = [TrainingConfig.load(shipped(name)).name for name in SHIPPED]
    assert len(names) == len(set(names)) > 8


def test_every_shipped_plan_loads():
    searches = sorted((CONFIGS / "tune").glob("*.yaml"))
    assert len(searches) > 10
    budgets = {(plan.trials, plan.pruning) for plan in map(TuningPlan.load, searches)}
    # What is compared has had the same budget.
    assert budgets == {(6, False)}
    for file in (CONFIGS / "compare").glob("*.yaml"):
        ComparisonPlan.load(file)


@pytest.mark.parametrize(
    ("ablation", "differences"),
    [
        (
            "without_asl",
            {"name": "without-asl", "adversarial.weight": 0, "relations.graph": "observed"},
        ),
        ("without_cl", {"name": "without-cl", "contrast.weight": 0}),
        ("without_gt", {"name": "without-gt", "adversarial.real_rows": "observed"}),
        ("gae", {"name": "gae", "adversarial.weight": 0, "reconstruction.weight": None}),
        ("without_image", {"name": "without-image", "features.modalities": ["audio"]}),
        ("without_audio", {"name": "without-audio", "features.modalities": ["image"]}),
    ],
)
def test_an_ablation_differs_from_paper_in_what_it_says_and_in_nothing_else(ablation, differences):
    ours, paper = settings_of(f"ablations/{ablation}.yaml"), settings_of("tiktok.yaml")
    found = {".".join(at): value for at, value in ours.items() if value != paper[at]}
    assert found.keys() == differences.keys()
    # How much of the reconstruction there is, is a matter of tuning.
    assert found.pop("reconstruction.weight", 1) > 0
    assert found.items() <= differences.items()


def test_every_ablation_is_held_to_its_description():
    assert {name for name in SHIPPED if name.startswith("ablations/")} == {
        f"ablations/{name}.yaml"
        for name in (
            *("without_asl", "without_cl", "without_gt", "gae"),
            *("without_image", "without_audio"),
        )
    }
