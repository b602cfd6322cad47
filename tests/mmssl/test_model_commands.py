"""The commands that use a trained model: evaluate and recommend."""

import json
import shutil

import polars as pl
import pytest
import torch

import cli
from mmssl.evaluation.evaluate import evaluate, protocol
from mmssl.recommend.model_folder import SavedModel
from mmssl.recommend.model_info import ModelInfo

UNKNOWN_USER = (
    "error: 1 unknown user id: 'nobody'; --skip-unknown leaves such out; for users with a history"
    " but without training see --new-users\n"
)


@pytest.fixture
def project(dataset, tmp_path):
    """A project with a dataset and one finished run, whose model is random."""
    (tmp_path / "items.csv").write_text("item_id\n0\n")
    shutil.copytree(dataset.path, tmp_path / "data")
    generator = torch.Generator().manual_seed(0)
    train = dataset.matrix("train")
    info = ModelInfo(
        name="mmssl",
        variant="paper",
        encoders={"image": None},
        data=str(tmp_path / "data"),
        data_digest=dataset.digest,
        seed=1,
        best_epoch=1,
        training={},
        metrics={},
        popularity={},
        protocol=protocol(dataset, "val"),
    )
    SavedModel(
        info=info,
        user_ids=dataset.user_ids.ids,
        item_ids=dataset.item_ids.ids,
        parameters={},
        user_vectors=torch.randn(train.shape[0], 3, generator=generator),
        item_vectors=torch.randn(train.shape[1], 3, generator=generator),
        graphs={"image": train},
        train=train,
        val=dataset.matrix("val"),
    ).save(tmp_path / "runs" / "first" / "model")
    (tmp_path / "runs" / "first" / "metrics.json").write_text("{}")
    return tmp_path


def run_cli(capsys, *arguments) -> tuple[int, list[str], str]:
    """Exit code, lines of standard output, and standard error."""
    with pytest.raises(SystemExit) as stop:
        cli.run(cli.app, [str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return int(stop.value.code or 0), printed.out.splitlines(), printed.err


def test_evaluate_writes_the_figures_and_those_of_each_user(project, capsys, tmp_path):
    run, figures, users = (
        project / "runs" / "first",
        tmp_path / "new" / "a.json",
        tmp_path / "u.csv",
    )
    options = ["--k", 5, "--k", 10, "--json", figures, "--per-user", users, "--device", "cpu"]
    code, out, err = run_cli(capsys, "evaluate", "--model", run, "--split", "val", *options)
    assert (code, err) == (0, "")
    expected = evaluate(run, "val", ks=[5, 10], device="cpu")
    assert out == expected.lines()
    assert json.loads(figures.read_text()) == expected.as_json()
    assert pl.read_csv(users)["user_id"].to_list() == expected.per_user["user_id"].to_list()


def test_evaluate_takes_the_latest_run_and_popularity_the_project_s_data(project, capsys):
    code, out, _ = run_cli(capsys, "evaluate", "--project", project)
    assert code == 0
    assert out[0].startswith(f"{project / 'runs' / 'first'} on {project / 'data'}, val split")
    code, out, _ = run_cli(capsys, "evaluate", "--model", "popularity", "--project", project)
    assert code == 0
    assert out[0].startswith(f"popularity on {project / 'data'}, val split")


def test_evaluate_on_test_counts_readings_and_can_leave_validation_in(project, capsys):
    command = ["evaluate", "--model", "popularity", "--data", project / "data", "--split", "test"]
    _, masked, _ = run_cli(capsys, *command)
    _, published, _ = run_cli(capsys, *command, "--no-mask-validation")
    assert "train and val masked" in masked[0]
    assert published[0].endswith("train masked")
    assert masked[-1].endswith("was read 1 time(s) so far")
    assert published[-1].endswith("was read 2 time(s) so far")


@pytest.mark.parametrize("option", ["--json", "--per-user"])
def test_evaluate_finds_out_where_it_cannot_write_before_it_reads_the_test_split(
    project, capsys, option
):
    (project / "file").write_text("")
    bad = [project / "file" / "x.csv", project / "runs"]
    if option == "--per-user":
        bad.append(project / "users.xlsx")
    for path in bad:
        code, out, err = run_cli(
            capsys, "evaluate", "--project", project, "--split", "test", option, path
        )
        assert (code, out) == (2, [])
        assert err.startswith(f"error: {path}: ")
        assert err.count("\n") == 1
    assert not (project / "data" / "test_reads.jsonl").exists()


def test_recommend_writes_lists_with_the_original_ids(project, capsys, tmp_path):
    out_file = tmp_path / "recs.jsonl"
    code, out, err = run_cli(
        capsys,
        "recommend",
        "--project",
        project,
        "--users",
        "u3,u1",
        "--top-k",
        4,
        "--out",
        out_file,
    )
    assert (code, err) == (0, "")
    assert out == [
        f"model: {project / 'runs' / 'first'}",
        f"{out_file}: recommendations 8, users 2",
    ]
    frame = pl.read_ndjson(out_file)
    assert frame["user_id"].to_list() == ["u3"] * 4 + ["u1"] * 4
    assert frame["rank"].to_list() == [1, 2, 3, 4] * 2


def test_recommend_leaves_out_what_was_seen_unless_told_otherwise(
    project, dataset, capsys, tmp_path
):
    seen = set()
    for split in (dataset.train, dataset.val):
        seen |= {
            (dataset.user_ids.ids[user], dataset.item_ids.ids[item])
            for user, item in zip(split.users, split.items, strict=True)
        }
    listed = {}
    for option in ([], ["--include-seen"]):
        path = tmp_path / f"recs{len(option)}.parquet"
        command = [
            "recommend",
            "--model",
            project / "runs" / "first",
            "--top-k",
            100,
            "--out",
            path,
        ]
        code, _, _ = run_cli(capsys, *command, *option)
        assert code == 0
        listed[len(option)] = set(pl.read_parquet(path)["user_id", "item_id"].rows())
    everything = {(user, item) for user in dataset.user_ids.ids for item in dataset.item_ids.ids}
    assert listed[1] == everything
    assert listed[0] == everything - seen


def test_recommend_reads_users_from_a_file_and_can_skip_unknown_ones(project, capsys, tmp_path):
    (tmp_path / "users.txt").write_text("u1\nnobody\n")
    command = ["recommend", "--project", project, "--users", tmp_path / "users.txt"]
    command += ["--out", tmp_path / "recs.csv"]
    code, out, err = run_cli(capsys, *command)
    assert (code, out, err) == (2, [], UNKNOWN_USER)
    code, out, _ = run_cli(capsys, *command, "--skip-unknown")
    assert code == 0
    assert out[-1] == "unknown users skipped: 1 ('nobody')"
    assert set(pl.read_csv(tmp_path / "recs.csv")["user_id"]) == {"u1"}


def test_recommend_lists_only_some_items_or_never_some(project, capsys, tmp_path):
    command = ["recommend", "--project", project, "--out", tmp_path / "recs.csv", "--top-k", 99]

    def listed(*options):
        code, _, err = run_cli(capsys, *command, *options)
        assert (code, err) == (0, "")
        return set(pl.read_csv(tmp_path / "recs.csv", infer_schema=False)["item_id"])

    everything = listed()
    some = sorted(everything)[:3]
    (tmp_path / "some.csv").write_text("item\n" + "\n".join(some) + "\n")
    assert listed("--only-items", tmp_path / "some.csv") == set(some)
    assert listed("--without-items", ",".join(some)) == everything - set(some)
    both = listed("--only-items", ",".join(some), "--without-items", some[0])
    assert both == set(some[1:])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--out", "recs.xlsx"], "unknown kind of table"),
        (["--out", "recs.csv", "--only-items", "nothing-like-it"], "unknown item id"),
        (["--out", "recs.csv", "--without-items", "nobody.txt"], "--without-items nobody.txt: no"),
        (["--out", "recs.csv", "--top-k", "0"], "at least 1"),
        (["--out", "recs.csv", "--users", "nobody.txt"], "no such file"),
        (["--out", "recs.csv", "--device", "tpu"], "unknown device"),
        (["--out", "recs.csv", "--model", "nowhere"], "no trained model here"),
    ],
)
def test_recommend_refuses_in_one_line(project, capsys, monkeypatch, options, says):
    monkeypatch.chdir(project)
    code, out, err = run_cli(capsys, "recommend", *options)
    assert (code, out) == (2, [])
    assert says in err
    assert err.count("\n") == 1


def test_options_that_would_be_ignored_or_undo_each_other_are_refused(project, capsys):
    same = ["--json", project / "x.csv", "--per-user", project / "runs" / ".." / "x.csv"]
    users = project / "users.csv"
    users.write_text("user\nu1\n")
    for arguments, message in (
        (["evaluate", "--no-mask-validation"], "--no-mask-validation does not apply"),
        (["evaluate", *same], "are the same file: name two"),
        (["recommend", "--users", users, "--out", users], "the file of --users would be overwr"),
        (["recommend", "--only-items", users, "--out", users], "of --only-items would be overwr"),
        (["recommend", "--out", project / "a.csv", "--top-k", 0], "--top-k 0: a list has at least"),
    ):
        code, out, err = run_cli(capsys, *arguments, "--project", project)
        assert (code, out) == (2, [])
        assert message in err
        assert err.count("\n") == 1
    assert users.read_text() == "user\nu1\n"
    assert not (project / "x.csv").exists()
