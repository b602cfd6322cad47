import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from extract.errors import InputError
from extract.files import sha256_file
from mmssl.recommend.index import VectorIndex, digest_of, kind_for

KINDS = ("flat", "hnsw", "ivf")


def drawn(rows: int, dim: int = 8, seed: int = 0) -> np.ndarray:
    """Vectors of very different lengths, as popular and rare items have."""
    draw = np.random.default_rng(seed)
    lengths = draw.lognormal(0, 0.6, (rows, 1))
    return (draw.normal(size=(rows, dim)) * lengths).astype(np.float32)


def by_hand(queries: np.ndarray, items: np.ndarray, k: int) -> np.ndarray:
    return np.argsort(-(queries.astype(float) @ items.astype(float).T), axis=1, kind="stable")[
        :, :k
    ]


def test_flat_finds_the_largest_inner_products_in_order():
    items, queries = drawn(500), drawn(20, seed=1)
    scores, rows = VectorIndex.build(items, "flat").search(queries, 7)
    expected = by_hand(queries, items, 7)
    assert (rows == expected).all()
    assert (rows.dtype, scores.dtype) == (np.int64, np.float32)
    products = np.take_along_axis(queries @ items.T, expected, axis=1)
    np.testing.assert_allclose(scores, products, rtol=1e-5)


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_recall_is_the_share_of_the_exact_lists_that_was_found(kind):
    items, queries = drawn(3000), drawn(50, seed=1)
    index = VectorIndex.build(items, kind)
    _, rows = index.search(queries, 10)
    expected = by_hand(queries, items, 10)
    shared = [len(set(found) & set(best)) / 10 for found, best in zip(rows, expected, strict=True)]
    assert index.recall(queries, 10) == pytest.approx(np.mean(shared))
    # What an index of this size is for; IVF looks at an eighth of its cells.
    assert index.recall(queries, 10) > (0.95 if kind == "hnsw" else 0.5)
    assert VectorIndex.build(items, "flat").recall(queries, 10) == 1


def test_ivf_really_leaves_something_out():
    items, queries = drawn(3000), drawn(200, seed=1)
    assert VectorIndex.build(items, "ivf").recall(queries, 50) < 1


@given(
    items=hnp.arrays(np.float32, (5, 3), elements=st.integers(-3, 3)),
    queries=hnp.arrays(np.float32, (2, 3), elements=st.integers(-3, 3)),
    k=st.integers(1, 8),
    kind=st.sampled_from(KINDS),
)
def test_small_catalogues_are_searched_whole(items, queries, k, kind):
    scores, rows = VectorIndex.build(items, kind).search(queries, k)
    best = -np.sort(-(queries @ items.T), axis=1)
    width = min(k, 5)
    assert (scores[:, :width] == best[:, :width]).all()
    for user in range(2):
        assert sorted({*rows[user, :width]}) == sorted(rows[user, :width])
        assert (queries[user] @ items[rows[user, :width]].T == scores[user, :width]).all()
    assert (rows[:, width:] == -1).all()
    assert (scores[:, width:] == -np.inf).all()


def test_equal_items_do_not_lower_the_recall():
    items = np.ones((60, 2), dtype=np.float32)
    assert VectorIndex.build(items, "hnsw").recall(items[:3], 5) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_with_one_thread_an_index_comes_out_the_same_every_time(kind, tmp_path):
    items = drawn(2000)
    for name in ("a", "b"):
        VectorIndex.build(items, kind, threads=1).save(tmp_path / name)
    files = [(tmp_path / name / "index.faiss").read_bytes() for name in ("a", "b")]
    assert files[0] == files[1]


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_from_disk_answers_as_the_one_in_memory(kind, tmp_path):
    items, queries = drawn(400), drawn(10, seed=1)
    ids = [f"item\n{row}" for row in range(400)]
    index = VectorIndex.build(items, kind, item_ids=ids)
    index.save(tmp_path / "index")
    loaded = VectorIndex.load(tmp_path / "index")
    for mine, theirs in zip(loaded.search(queries, 9), index.search(queries, 9), strict=True):
        assert (mine == theirs).all()
    assert (loaded.kind, loaded.item_ids, loaded.items, loaded.dim) == (kind, ids, 400, 8)
    assert loaded.recall(queries, 9) == index.recall(queries, 9)
    assert loaded.vectors_digest == digest_of(items)
    assert digest_of(items) != digest_of(items * 2)


def test_ids_are_not_needed(tmp_path):
    VectorIndex.build(drawn(5), "flat").save(tmp_path / "index")
    assert VectorIndex.load(tmp_path / "index").item_ids is None
    with pytest.raises(ValueError, match="2 ids for 5 vectors"):
        VectorIndex.build(drawn(5), "flat", item_ids=["a", "b"])


@pytest.mark.parametrize(
    ("items", "kind"),
    [(1, "flat"), (50_000, "flat"), (50_001, "hnsw"), (2_000_000, "hnsw"), (2_000_001, "ivf")],
)
def test_the_size_decides_the_kind(items, kind):
    assert kind_for(items) == kind


def test_auto_takes_what_the_size_decides():
    assert VectorIndex.build(drawn(10)).kind == "flat"


@pytest.mark.parametrize(
    ("vectors", "says"),
    [
        (np.zeros((0, 4), np.float32), r"\(0, 4\)"),
        (np.zeros(4, np.float32), r"\(4,\)"),
        (np.zeros((2, 4)), "float64"),
        (np.full((2, 4), np.nan, np.float32), "NaN"),
    ],
)
def test_vectors_that_cannot_be_searched_are_refused(vectors, says):
    with pytest.raises(ValueError, match=says):
        VectorIndex.build(vectors, "flat")


def test_queries_that_do_not_fit_are_refused():
    index = VectorIndex.build(drawn(5), "flat")
    with pytest.raises(ValueError, match=r"not \(n, 8\)"):
        index.search(drawn(2, dim=3), 1)
    with pytest.raises(ValueError, match="at least 1"):
        index.search(drawn(2), 0)


def test_the_process_keeps_its_number_of_threads():
    import faiss

    before = faiss.omp_get_max_threads()
    VectorIndex.build(drawn(50), "hnsw", threads=before + 1).search(drawn(2), 3)
    assert faiss.omp_get_max_threads() == before


def damaged(folder: Path) -> None:
    (folder / "index.faiss").write_bytes(b"IxF2" + bytes(40))


def no_index_but_its_digest(folder: Path) -> None:
    damaged(folder)
    edit(folder, files={"index.faiss": sha256_file(folder / "index.faiss")})


def edit(folder: Path, **values: object) -> None:
    manifest = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps(manifest | values))


def another_file(folder: Path) -> None:
    edit(folder, files={"../../secret": "0"})


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (damaged, "changed or damaged"),
        (no_index_but_its_digest, "no FAISS index"),
        (lambda folder: (folder / "index.faiss").unlink(), "missing"),
        (lambda folder: (folder / "index.json").unlink(), "no index here"),
        (lambda folder: (folder / "index.json").write_text("{"), "not readable as JSON"),
        (lambda folder: edit(folder, schema_version=2), "schema version 2"),
        (lambda folder: edit(folder, items=7), "not what index.json says"),
        (lambda folder: edit(folder, kind="hnsw"), "not what index.json says"),
        (lambda folder: edit(folder, kind="pq"), "kind"),
        (lambda folder: edit(folder, more=1), "more"),
        (another_file, "expected the digests of index.faiss"),
    ],
)
def test_a_folder_that_is_no_whole_index_is_one_line(harm, says, tmp_path):
    folder = tmp_path / "index"
    VectorIndex.build(drawn(5), "flat", item_ids=list("abcde")).save(folder)
    harm(folder)
    with pytest.raises(InputError, match=says):
        VectorIndex.load(folder)


def test_an_index_of_distances_is_not_taken_for_one_of_products(tmp_path):
    import faiss

    folder = tmp_path / "index"
    VectorIndex.build(drawn(5), "hnsw").save(folder)
    index = faiss.IndexHNSWFlat(8, 32)
    index.add(drawn(5))
    faiss.write_index(index, str(folder / "index.faiss"))
    edit(folder, files={"index.faiss": sha256_file(folder / "index.faiss")})
    with pytest.raises(InputError, match=r"not what index\.json says"):
        VectorIndex.load(folder)


def test_without_faiss_the_extra_is_named():
    program = (
        "import sys; sys.modules['faiss'] = None\n"
        "import numpy as np\n"
        "from mmssl.recommend.index import VectorIndex\n"
        "from extract.errors import InputError\n"
        "try: VectorIndex.build(np.ones((2, 2), np.float32))\n"
        "except InputError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "mmssl-toolkit[index]" in done.stdout


def test_vectors_on_another_layout_are_copied():
    items = torch.from_numpy(drawn(8)).T.contiguous().T.numpy()
    assert not items.flags["C_CONTIGUOUS"]
    _, rows = VectorIndex.build(items, "flat").search(items, 1)
    assert (rows[:, 0] == by_hand(items, items, 1)[:, 0]).all()
