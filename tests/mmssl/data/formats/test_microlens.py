import string

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extract.errors import InputError
from mmssl.data.formats.microlens import MicroLens
from mmssl.data.formats.microlens_titles import read_first_comma
from mmssl.data.formats.registry import source_format
from tests.mmssl.data.formats import broken, raw

FILES = {
    "MicroLens-100k_pairs.csv": "user,item,timestamp\n36121,2,1583378629552\n"
    "36121,1,1583378700000\n7,3,1662984132429\n",
    "MicroLens-100k_title_en.csv": '1,Plain words\n2,"A ""big"", red cat"\n3,12" disc, "new"\n',
    "MicroLens-100k_likes_and_views.txt": "1\t10000\t44000\n2\t20\t30\n3\t5\t6\n",
    "tags_to_summary.csv": "1,Music\n3,Funny\n",
}
SEQUENCES = "36121\t2 1\n7\t3\n"


@pytest.fixture
def source(tmp_path):
    """The names and lines of MicroLens-100k, by its loaders and feature scripts."""
    folder = tmp_path / "ml100k"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    (folder / "MicroLens-100k_pairs.tsv").write_text(SEQUENCES)
    features = folder / "extracted_modality_features"
    features.mkdir()
    for name, dim in (
        ("image_features_CLIPRN50", 2),
        ("title_en_text_features_BgeM3", 3),
        ("video_features_VideoMAE", 1),
    ):
        matrix = np.arange(3 * dim, dtype=np.float32).reshape(3, dim)
        np.save(features / f"MicroLens-100k_{name}.npy", matrix)
    for name in ("covers/1.jpg", "covers/3.jpg", "videos_Part_1/2.mp4", "audios/1.wav"):
        path = folder / f"MicroLens-100k_{name}"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return folder


def test_pairs_and_features(source):
    assert source_format(source).name == "microlens"
    content = MicroLens().read(source)
    assert raw.rows(content.parts["interactions"].frame) == {
        ("36121", "2", 1583378629552),
        ("36121", "1", 1583378700000),
        ("7", "3", 1662984132429),
    }
    assert content.warnings == ()
    # Row r is item r + 1.
    assert {modality: raw.by_id(each) for modality, each in content.features.items()} == {
        "image": {"1": [0, 1], "2": [2, 3], "3": [4, 5]},
        "text": {"1": [0, 1, 2], "2": [3, 4, 5], "3": [6, 7, 8]},
        "video": {"1": [0], "2": [1], "3": [2]},
    }


def test_items(source):
    home = source.resolve()
    assert MicroLens().read_items(source).rows(named=True) == [
        {"item_id": "1", "text": "Plain words", "title": "Plain words", "likes": "10000",
         "views": "44000", "tag": "Music", "image": str(home / "MicroLens-100k_covers/1.jpg"),
         "video": None, "audio": str(home / "MicroLens-100k_audios/1.wav")},
        {"item_id": "2", "text": 'A "big", red cat', "title": 'A "big", red cat', "likes": "20",
         "views": "30", "tag": None, "image": None,
         "video": str(home / "MicroLens-100k_videos_Part_1/2.mp4"), "audio": None},
        {"item_id": "3", "text": '12" disc, "new"', "title": '12" disc, "new"', "likes": "5",
         "views": "6", "tag": "Funny", "image": str(home / "MicroLens-100k_covers/3.jpg"),
         "video": None, "audio": None},
    ]  # fmt: skip


def test_sequences_where_there_are_no_times(source):
    (source / "MicroLens-100k_pairs.csv").unlink()
    assert MicroLens().recognises(source)
    content = MicroLens().read(source)
    assert raw.rows(content.parts["interactions"].frame) == {
        ("36121", "2", 1),
        ("36121", "1", 2),
        ("7", "3", 1),
    }
    assert "a timestamp is the place in the list" in content.warnings[0]
    assert content.parts["interactions"].frame["row"].to_list() == [1, 1, 2]


@pytest.mark.parametrize(
    ("name", "text", "titles"),
    [
        ("_titles.csv", 'item,title\n1,One\n2,"Two, too"\n', {"1": "One", "2": "Two, too"}),
        ("_title.csv", "1,One, more\n2,\n", {"1": "One, more", "2": None}),
        # A mark that is not closed, and a title of two lines.
        ("_title.csv", '1,"Open, only\n2,Two\n', {"1": '"Open, only', "2": "Two"}),
        ("_titles.csv", 'item,title\n1,"Two\nlines, so"\n2,b\n', {"1": "Two\nlines, so", "2": "b"}),
        ("_title.csv", '1,"One" said, "no"\r\n2,b\r\n', {"1": '"One" said, "no"', "2": "b"}),
    ],
)
def test_titles_of_every_size(source, name, text, titles):
    (source / "MicroLens-100k_title_en.csv").unlink()
    (source / f"MicroLens-100k{name}").write_text(text, newline="")
    items = MicroLens().read_items(source)
    assert {
        id_: title for id_, title in items.select("item_id", "text").rows() if id_ in titles
    } == (titles)


def test_items_of_media_alone(source):
    for path in [*source.glob("*.csv"), *source.glob("*.txt")]:
        path.unlink()
    items = MicroLens().read_items(source)
    assert sorted(items["item_id"]) == ["1", "2", "3"]
    assert items.columns == ["item_id", "image", "video", "audio"]


def test_two_encoders_of_a_modality_are_told_apart(source):
    np.save(source / "MicroLens-100k_image_features_ViT.npy", np.ones((3, 1), dtype=np.float32))
    assert set(MicroLens().read(source).features) == {
        "image_CLIPRN50",
        "image_ViT",
        "text",
        "video",
    }


TEXTS = st.none() | st.text(string.printable + "é中", min_size=1).filter(str.strip)
# The layout's titles are lines.
LINES = TEXTS.map(lambda text: text and " ".join(text.split()))
NUMBERS = st.integers(1, 8).map(str)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), timed=st.booleans(), ids=st.sampled_from([raw.IDS, NUMBERS]))
def test_round_trip(tmp_path_factory, data, timed, ids):
    content = data.draw(raw.raw_datasets(split=False, timed=timed, ids=ids))
    named = data.draw(st.lists(raw.IDS, min_size=1, max_size=3, unique=True))
    items = pl.DataFrame(
        {"item_id": named}
        | {name: [data.draw(LINES) for _ in named] for name in ("title", "likes", "views", "tag")},
        schema=dict.fromkeys(("item_id", "title", "likes", "views", "tag"), pl.String),
    )
    folder = tmp_path_factory.mktemp("microlens")
    MicroLens().write(content, items, folder, "made")
    assert MicroLens().recognises(folder)
    raw.same(MicroLens().read(folder), content)
    assert MicroLens().read_items(folder).drop("text").equals(items)
    # The sequences say the same, in order.
    (folder / "MicroLens-made_pairs.csv").unlink()
    frame = content.parts["interactions"].frame
    if timed:
        frame = frame.sort("timestamp", maintain_order=True)
    order = MicroLens().read(folder).parts["interactions"].frame
    for user in frame["user"].unique():
        wanted, found = (each.filter(pl.col("user") == user)["item"] for each in (frame, order))
        assert found.to_list() == wanted.to_list()


def test_files_have_the_names_and_rows_of_the_layout(tmp_path):
    content = raw.RawDataset(
        {"interactions": raw.table([("u", "2"), ("v", "3"), ("u", "1")], timestamps=[9, 5, 4])},
        {"image": raw.features({"3": [3.0], "1": [1.0], "2": None})},
    )
    notes = MicroLens().write(content, None, tmp_path, "MicroLens-mini")
    assert (tmp_path / "MicroLens-mini_pairs.csv").read_text() == (
        "user,item,timestamp\nu,2,9\nv,3,5\nu,1,4\n"
    )
    assert (tmp_path / "MicroLens-mini_pairs.tsv").read_text() == "u\t1 2\nv\t3\n"
    features = tmp_path / "extracted_modality_features"
    stem = "MicroLens-mini_image_features_converted"
    assert np.load(features / f"{stem}.npy").tolist() == [[1], [0], [3]]
    assert sorted(path.name for path in features.iterdir()) == [f"{stem}.mask.npy", f"{stem}.npy"]
    assert len(notes) == 1
    assert "1 of 3 items have no vector" in notes[0]


def test_what_is_lost_is_told(tmp_path):
    part = raw.table([("u", "a b")], ratings=[2.0])
    content = raw.RawDataset({"train": part, "val": part, "test": part})
    items = pl.DataFrame(
        {"item_id": ["a b"], "text": ["Hat. Wool"], "title": ["Hat\nred"], "price": ["3"],
         "video": ["/media/a.mp4"]}
    )  # fmt: skip
    assert MicroLens().write(content, items, tmp_path, "x") == [
        "left out, for the layout has no place for it: ratings, which part of the split an"
        " interaction is in",
        "MicroLens-x_pairs.tsv: not written, for ids hold blanks, which are its separators",
        "item: the ids are written as they are; MicroLens' own loaders want whole numbers from 1",
        "MicroLens-x_title.csv: line breaks in 1 texts became blanks",
        "text of 1 items: not the title, and left out",
        "columns of items left out: price",
        "video: the files stay where they are; the layout has image in MicroLens-x_covers/"
        "<item>.jpg, video in MicroLens-x_videos/<item>.mp4 and audio in"
        " MicroLens-x_audios/<item>.wav, link them there",
    ]
    assert (tmp_path / "MicroLens-x_title.csv").read_text() == "a b,Hat red\n"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("pairs.csv", ("1583378700000", "soon"), "line 3, column 'timestamp': .*'soon'"),
        ("pairs.csv", ("item", "video"), "line 1: no column 'item'"),
        ("title_en.csv", ("2,", "1,"), "line 2, column 1: id '1' stands in line 1 already"),
        ("title_en.csv", ("2,", ","), "line 2, column 1: the id is empty"),
        ("title_en.csv", ("1,Plain words", "1"), "line 1, column 2: no title; a line is"),
        ("likes_and_views.txt", ("2\t20", "1\t20"), "line 2, column 'item_id': id '1' stands"),
        ("likes_and_views.txt", ("30", "30\t40"), "line 2, column 4: 4 fields where 3"),
    ],
)
def test_what_is_broken_is_named(source, name, change, message):
    path = source / f"MicroLens-100k_{name}"
    path.write_text(path.read_text().replace(*change))
    read = MicroLens().read if "pairs" in name else MicroLens().read_items
    with pytest.raises(InputError, match=f"{name}, {message}"):
        read(source)


def test_a_sequence_without_items_is_named(source):
    (source / "MicroLens-100k_pairs.csv").unlink()
    path = source / "MicroLens-100k_pairs.tsv"
    path.write_text(SEQUENCES + "8\t\n")
    with pytest.raises(InputError, match=r"pairs\.tsv, line 3, column 'items': empty item id"):
        MicroLens().read(source)
    assert MicroLens().read(source, "drop").parts["interactions"].frame.height == 3


def test_one_data_set_a_folder(source, tmp_path):
    (source / "MicroLens-50k_pairs.csv").write_text("user,item\n1,2\n")
    with pytest.raises(InputError, match=r"several data sets \(MicroLens-100k, MicroLens-50k\)"):
        MicroLens().read(source)
    assert not MicroLens().recognises(tmp_path)
    with pytest.raises(InputError, match=r"holds no MicroLens-\*_pairs"):
        MicroLens().read(tmp_path)


SEPARATORS = {name: "\t" if name.endswith("txt") else "," for name in FILES}


@pytest.mark.parametrize("name", [*FILES, "MicroLens-100k_pairs.tsv"])
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_broken_file_is_read_or_named(source, name, data):
    path = source / name
    whole = FILES.get(name, SEQUENCES).encode()
    if name.endswith("tsv"):
        (source / "MicroLens-100k_pairs.csv").unlink(missing_ok=True)
    path.write_bytes(whole)
    broken.break_lines(path, SEPARATORS.get(name, "\t"), data)
    broken.fails_well(lambda: (MicroLens().read(source), MicroLens().read_items(source)), path)


def test_an_open_quote_takes_no_lines_where_ids_are_no_numbers(tmp_path):
    path = tmp_path / "x_title.csv"
    path.write_text("a,\"12 o'clock\nb,tea\n")
    assert read_first_comma(path, "title").rows() == [("a", "\"12 o'clock"), ("b", "tea")]
