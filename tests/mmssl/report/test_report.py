"""The page: its figures are those of the evaluation, and nothing in it reaches beyond it."""

import html
import json
import re
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from PIL import Image

from extract.errors import InputError
from extract.inspect.items import ItemSource
from mmssl.data.dataset import Dataset
from mmssl.data.prepare import prepare
from mmssl.data.prepare_config import PrepareConfig
from mmssl.evaluation.evaluate import evaluate
from mmssl.evaluation.significance import RESAMPLES, bootstrap_intervals
from mmssl.report.report import ReportOptions, report

HOSTILE = ['<script>alert("1")</script>', "Ünï & 'co' \"x\"", "{{ 7 * 7 }}", "a\u202eb\x07"]


def test_metrics_and_intervals_are_those_of_the_evaluation(page, run, dataset_folder):
    measured = evaluate(run, "val", dataset_folder)
    for name, label in (("recall@10", "Recall@10"), ("ndcg@50", "NDCG@50"), ("mrr@20", "MRR@20")):
        values = measured.per_user[name].to_numpy()[None]
        low, high = bootstrap_intervals(values, 0.95, RESAMPLES, 0)[0]
        _, ours, theirs, _ = page.row(label)
        assert ours == f"{measured.metrics[name]:.4f} {low:.4f} to {high:.4f}"
        assert theirs.startswith(f"{measured.popularity[name]:.4f} ")
    shown = f"{100 * measured.metrics['recall@20']:.1f} % are among the 20 that the model"
    assert shown in page.text


def test_the_test_split_is_not_read(page, dataset_folder):
    assert Dataset.open(dataset_folder).test_reads() == 0
    assert "This report did not read the test split" in page.text


def test_counts_are_those_of_the_dataset(page, dataset):
    assert f"test interactions, not read here {dataset.manifest.counts.test}" in page.text
    assert page.row("audio")[1:5] == ["23", "95.8 %", "5", "yes"]
    assert f"over {len(set(dataset.val.users))} users" in page.text


def test_every_setting_stands_in_a_line_of_its_own(run, items, tmp_path):
    out = tmp_path / "page.html"
    report(ReportOptions(model=run, out=out, source=ItemSource(items)))
    (listed,) = re.findall(r"Every setting.*?<code>(.*?)</code>", out.read_text(), re.DOTALL)
    written = yaml.safe_load(html.unescape(listed))
    assert written == json.loads((run / "model/config.json").read_text())["model"]["training"]


def test_nothing_is_fetched_and_nothing_runs(page):
    assert {a["src"][:11] for _, a in page.tags if "src" in a} == {"data:image/"}
    assert all(a["href"][0] == "#" or a["href"] == "data:," for _, a in page.tags if "href" in a)
    assert page.all("script") == []
    assert not any(key.startswith("on") for _, a in page.tags for key in a)
    (policy,) = [m["content"] for m in page.all("meta") if "Policy" in m.get("http-equiv", "")]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_no_address_stands_in_the_page(run, items, tmp_path):
    out = tmp_path / "page.html"
    report(ReportOptions(model=run, out=out, source=ItemSource(items)))
    text = re.sub(r"data:[a-z/+]+;base64,[A-Za-z0-9+/=]+", "", out.read_text())
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text
    assert "@import" not in text


def test_pictures_tables_and_links_can_be_read_without_eyes(page):
    assert all(image["alt"].strip() for image in page.all("img"))
    assert len(page.all("caption")) == len(page.all("table")) >= 5
    assert all("scope" in header for header in page.all("th"))
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for a in page.all("a")} <= set(ids)
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))


def test_curves_are_drawn_of_every_part_of_the_loss(page, run):
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    parts = [line for line in lines if line["event"] == "epoch"][-1]["losses"]
    alts = [image["alt"] for image in page.all("img")]
    for name, last in parts.items():
        begins = f"{name.replace('_', ' ')} by epoch"
        (alt,) = [alt for alt in alts if alt.startswith(begins)]
        assert f"{last:.4g} at epoch 3" in alt
    assert any(alt.startswith("Recall@20 by epoch") for alt in alts)


def test_the_same_inputs_give_the_same_bytes_and_another_seed_does_not(run, items, tmp_path):
    def written(name: str, seed: int) -> bytes:
        out = tmp_path / name / "page.html"
        report(ReportOptions(model=run, out=out, source=ItemSource(items), seed=seed))
        return out.read_bytes().replace(str(out).encode(), b"OUT")

    assert written("a", 0) == written("b", 0)
    assert written("a", 0) != written("c", 1)


def test_ids_texts_and_notes_are_escaped(tmp_path, trained, read_page):
    rows = [("user", "item"), *((u, i) for u in HOSTILE for i in [*HOSTILE, "x", "y", "z"])]
    pl.DataFrame(rows[1:], schema=list(rows[0]), orient="row").write_csv(tmp_path / "in.csv")
    out = tmp_path / "data"
    prepare(PrepareConfig(out=out, interactions=tmp_path / "in.csv", ratios=(0.5, 0.3, 0.2)))
    names = Dataset.open(out).item_ids.ids
    Image.new("RGB", (9, 9)).save(tmp_path / "p.png")
    table = pl.DataFrame(
        {"item_id": names, "image": "p.png", "text": "</p><img src=x onerror=alert(1)>"}
    )
    table.with_columns(kind=table["item_id"]).write_parquet(tmp_path / "items.parquet")
    run = trained("lightgcn", out, "optimiser.epochs=1")
    page_file = tmp_path / "page.html"
    report(
        ReportOptions(
            model=run,
            out=page_file,
            source=ItemSource(tmp_path / "items.parquet"),
            colour="kind",
            note="<b>note</b>",
        )
    )
    page = read_page(page_file)
    assert page.all("script") == page.all("b") == []
    assert all(image["src"].startswith("data:") for image in page.all("img"))
    assert HOSTILE[0] in page.text
    assert "Ünï & 'co' \"x\"" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert "a\\u202eb\\x07" in page.text
    assert "<b>note</b>" in page.text


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("item_knn", "The score of this model has one part (item graph)"),
        ("popularity", "The model does exactly as well as a list of the most popular items."),
        ("lightgcn", "The score of this model has one part (collaborative)"),
        ("vbpr", "What each modality adds"),
    ],
)
def test_models_of_other_kinds_have_a_page_without_a_table(
    dataset, trained, tmp_path, read_page, model, says
):
    settings = () if model in ("item_knn", "popularity") else ("optimiser.epochs=1",)
    options = ReportOptions(model=trained(model, dataset, *settings), out=tmp_path / "page.html")
    report(options)
    page = read_page(options.out)
    assert says in page.text
    assert "items are their ids alone" in page.text
    if model in ("item_knn", "popularity"):
        assert "This model has no loss" in page.text
        assert not any("lost without" in image["alt"] for image in page.all("img"))


def test_without_vectors_and_modalities_there_is_no_map(tmp_path, trained, read_page):
    rows = [f"u{user},i{(user * step) % 11}" for user in range(30) for step in (1, 2, 3, 5)]
    (tmp_path / "in.csv").write_text("user,item\n" + "\n".join(rows) + "\n")
    prepare(PrepareConfig(out=tmp_path / "data", interactions=tmp_path / "in.csv"))
    options = ReportOptions(
        model=trained("item_knn", tmp_path / "data"), out=tmp_path / "page.html"
    )
    report(options)
    page = read_page(options.out)
    assert "there is nothing to draw a map from" in page.text
    assert "The dataset has no modalities" in page.text


def test_a_model_folder_without_a_log_says_so(run, tmp_path, read_page):
    shutil.copytree(run / "model", tmp_path / "model")
    report(ReportOptions(model=tmp_path / "model", out=tmp_path / "page.html"))
    assert "no log.jsonl beside this model" in read_page(tmp_path / "page.html").text


def test_what_a_sample_says_of_its_origin_stands_at_the_top(run, items, tmp_path, read_page):
    (items.parent / "sample.json").write_text('{"source": "The users are simulated."}')
    report(ReportOptions(model=run, out=tmp_path / "page.html", source=ItemSource(items)))
    (notice,) = [a for _, a in read_page(tmp_path / "page.html").tags if a.get("role") == "note"]
    assert notice["class"] == "notice"
    assert "The users are simulated." in read_page(tmp_path / "page.html").text


def test_test_figures_are_shown_only_if_the_run_folder_holds_them(
    run, dataset, tmp_path, read_page
):
    copy, out = tmp_path / "run", tmp_path / "page.html"
    shutil.copytree(run, copy)
    figures = {
        "metrics": {"recall@20": 0.12345},
        "popularity": {"recall@20": 0.5},
        "protocol": {"split": "test", "dataset": dataset.digest},
    }
    report(ReportOptions(model=copy, out=out))
    assert "test.json" not in read_page(out).text
    (copy / "test.json").write_text(json.dumps(figures))
    report(ReportOptions(model=copy, out=out))
    assert ["Recall@20", "0.1235", "0.5000"] in read_page(out).rows
    for wrong in ({**figures, "protocol": {"split": "val", "dataset": dataset.digest}}, []):
        (copy / "test.json").write_text(json.dumps(wrong))
        with pytest.raises(InputError, match=r"test\.json: not"):
            report(ReportOptions(model=copy, out=out))


def test_a_failure_leaves_the_old_page(run, items, tmp_path):
    out = tmp_path / "page.html"
    out.write_text("old")
    with pytest.raises(InputError, match="no column 'knd'"):
        report(ReportOptions(model=run, out=out, source=ItemSource(items), colour="knd"))
    assert out.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"out": Path("page.pdf")}, "name a file ending in .html"),
        ({"model": Path("nowhere")}, "no trained model here"),
        ({"data": Path("nowhere")}, "nowhere"),
        ({"colour": "kind"}, "a column of --items, which is missing"),
        ({"users": "u0,nobody"}, "1 unknown user id: 'nobody'"),
        ({"space": "smell"}, "--space smell: there are vectors of model, "),
        ({"device": "tpu"}, "unknown device"),
        ({"source": ItemSource(Path("nowhere.csv"))}, "nowhere.csv"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(run, tmp_path, change, says):
    options = {"model": run, "out": tmp_path / "page.html", **change}
    with pytest.raises(InputError, match=re.escape(says)) as error:
        report(ReportOptions(**options))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "page.html").exists()


def test_a_table_of_other_items_is_refused(run, tmp_path):
    (tmp_path / "items.csv").write_text("item_id,text\nother,words\n")
    options = ReportOptions(
        model=run, out=tmp_path / "page.html", source=ItemSource(tmp_path / "items.csv")
    )
    with pytest.raises(InputError, match="holds none of the model's 24 items, such as '0'"):
        report(options)


def test_a_large_catalogue_is_drawn_by_a_sample(tmp_path, trained, read_page):
    draw = np.random.default_rng(0)
    count = 3_400
    np.save(tmp_path / "image.npy", draw.normal(size=(count, 4)).astype(np.float32))
    rows = [f"{user},{item}" for user in range(30) for item in draw.choice(count, 6, False)]
    (tmp_path / "in.csv").write_text("user,item\n" + "\n".join(rows) + "\n")
    prepare(
        PrepareConfig(
            out=tmp_path / "data",
            interactions=tmp_path / "in.csv",
            features={"image": tmp_path / "image.npy"},
        )
    )
    run, out = trained("item_knn", tmp_path / "data"), tmp_path / "page.html"
    report(ReportOptions(model=run, out=out))
    assert "3,000 of 3,400 items, drawn at random (seed 0)" in read_page(out).text
    assert "image features of the items" in read_page(out).text
    assert out.stat().st_size < 3 * 2**20
