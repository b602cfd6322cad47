import json

import pytest

from extract.errors import InputError
from mmssl.config import TrainingConfig
from mmssl.training.run_folder import RunFolder


def test_a_new_folder_keeps_its_resolved_configuration(tmp_path):
    folder = RunFolder(tmp_path / "runs" / "one")
    assert folder.open(TrainingConfig(seed=5), "abc", overwrite=False) == "new"
    assert TrainingConfig.load(folder.config) == TrainingConfig(seed=5)


def test_another_dataset_is_another_run(tmp_path):
    folder = RunFolder(tmp_path / "one")
    folder.open(TrainingConfig(), "abc", overwrite=False)
    with pytest.raises(InputError, match="dataset: abc' there, 'dataset: xyz' now"):
        folder.open(TrainingConfig(), "xyz", overwrite=False)


def test_a_run_killed_before_its_first_checkpoint_begins_again(tmp_path):
    folder = RunFolder(tmp_path / "one")
    folder.open(TrainingConfig(), "abc", overwrite=False)
    assert folder.open(TrainingConfig(), "abc", overwrite=False) == "new"


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "one").write_text("")
    with pytest.raises(InputError, match="a file stands where the run folder should be"):
        RunFolder(tmp_path / "one").open(TrainingConfig(), "abc", overwrite=True)


def test_overwrite_never_touches_a_folder_that_is_no_run(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "years of work").touch()
    with pytest.raises(InputError, match="not a training run"):
        RunFolder(tmp_path).open(TrainingConfig(), "abc", overwrite=True)
    assert (tmp_path / "model" / "years of work").exists()


def test_the_log_is_cut_back_to_a_checkpoint(tmp_path):
    folder = RunFolder(tmp_path)
    folder.log("epoch", epoch=1)
    size = folder.log_size()
    folder.log("epoch", epoch=2)
    folder.cut_log(size)
    lines = folder.log_file.read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1]
