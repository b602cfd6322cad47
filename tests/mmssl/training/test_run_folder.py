import json

import pytest

from extract.errors import InputError
from mmssl.config import TrainingConfig
from mmssl.model.config import MMSSLConfig
from mmssl.training.run_folder import RunFolder


@pytest.fixture
def begun(tmp_path) -> RunFolder:
    folder = RunFolder(tmp_path / "runs" / "one")
    assert folder.check(MMSSLConfig(seed=5), "abc", overwrite=False) == "new"
    folder.begin(MMSSLConfig(seed=5), "abc")
    return folder


def test_a_new_folder_keeps_its_resolved_configuration(begun):
    assert TrainingConfig.load(begun.config) == MMSSLConfig(seed=5)


def test_another_dataset_or_setting_is_another_run(begun):
    with pytest.raises(InputError, match=r"\(dataset abc there, xyzxyzxyzxyz now\); choose"):
        begun.check(MMSSLConfig(seed=5), 8 * "xyz", overwrite=False)
    with pytest.raises(InputError, match="'seed: 5' there, 'seed: 6' now"):
        begun.check(MMSSLConfig(seed=6), "abc", overwrite=False)


def test_a_run_killed_before_its_first_checkpoint_begins_again(begun):
    begun.log("start")
    assert begun.check(MMSSLConfig(seed=5), "abc", overwrite=False) == "replace"
    begun.begin(MMSSLConfig(seed=5), "abc")
    assert begun.log_size() == 0


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "one").write_text("")
    with pytest.raises(InputError, match="a file stands where the run folder should be"):
        RunFolder(tmp_path / "one").check(MMSSLConfig(), "abc", overwrite=True)


@pytest.mark.parametrize("config", [None, b"seed: 1\n", b"\xff\xfe"])
def test_overwrite_never_touches_a_folder_that_is_no_run(tmp_path, config):
    """Anybody may have a config.yaml beside a folder called model."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "years of work").touch()
    if config is not None:
        (tmp_path / "config.yaml").write_bytes(config)
    with pytest.raises(InputError, match="not a training run"):
        RunFolder(tmp_path).check(MMSSLConfig(), "abc", overwrite=True)
    assert (tmp_path / "model" / "years of work").exists()


def test_checking_deletes_nothing(begun):
    begun.log("epoch", epoch=1)
    assert begun.check(MMSSLConfig(), "other", overwrite=True) == "replace"
    assert begun.log_size() > 0


def test_the_log_is_cut_back_to_a_checkpoint(tmp_path):
    folder = RunFolder(tmp_path)
    folder.log("epoch", epoch=1)
    size = folder.log_size()
    folder.log("epoch", epoch=2)
    folder.cut_log(size)
    lines = folder.log_file.read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1]


def test_two_trainings_in_one_folder_are_refused_and_the_second_claim_waits_for_none(begun):
    with begun.claim(MMSSLConfig(seed=5), "abc", overwrite=False) as found:
        assert found == "replace"
        with (
            pytest.raises(InputError, match="another training is writing this run"),
            RunFolder(begun.path).claim(MMSSLConfig(seed=5), "abc", overwrite=False),
        ):
            pass
    with RunFolder(begun.path).claim(MMSSLConfig(seed=5), "abc", overwrite=False):
        pass


def test_a_claim_that_begins_nothing_leaves_nothing(tmp_path):
    folder = RunFolder(tmp_path / "one")
    with folder.claim(MMSSLConfig(), "abc", overwrite=False) as found:
        assert found == "new"
    assert not folder.path.exists()
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "thesis.doc").touch()
    with (
        pytest.raises(InputError, match="not a training run"),
        RunFolder(tmp_path / "two").claim(MMSSLConfig(), "abc", overwrite=False),
    ):
        pass
    assert [path.name for path in (tmp_path / "two").iterdir()] == ["thesis.doc"]


def test_what_kills_left_half_written_is_swept_and_hinders_nothing(tmp_path):
    folder = RunFolder(tmp_path)
    (tmp_path / ".lock").touch()
    (tmp_path / ".config.yaml.ab12.tmp").touch()
    with folder.claim(MMSSLConfig(), "abc", overwrite=False) as found:
        assert found == "new"
        folder.begin(MMSSLConfig(), "abc")
    for name in (".model.ab12.tmp", ".model.ab12.old", ".checkpoints.deleted.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    (tmp_path / ".metrics.json.ab12.tmp").touch()
    (tmp_path / ".mine").touch()
    with folder.claim(MMSSLConfig(), "abc", overwrite=False):
        pass
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", ".mine", "config.yaml"]


def test_a_kill_while_an_old_run_is_deleted_leaves_a_run_that_can_be_overwritten(
    begun, monkeypatch
):
    begun.log("epoch", epoch=1)
    begun.last.mkdir(parents=True)

    def killed(path, text):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mmssl.training.run_folder.write_text", killed)
        with pytest.raises(KeyboardInterrupt):
            begun.begin(MMSSLConfig(seed=6), "abc")
    assert begun.check(MMSSLConfig(seed=5), "abc", overwrite=False) == "replace"
    assert begun.check(MMSSLConfig(seed=6), "abc", overwrite=True) == "replace"
