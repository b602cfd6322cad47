import datetime
import string

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extract.errors import InputError
from mmssl.data.formats.hm import HM
from mmssl.data.formats.registry import source_format
from tests.mmssl.data.formats import broken, raw

DAY = 86_400_000_000
ANN = "000058a12d5b43e67d225668fa1f8d618c13dc232df0cad8ffe7ad4a1091e318"
BEA = "00007d2de826758b65a93dd24ce629ed66842531df6699338c5570910a014cc2"
TRANSACTIONS = f"""t_dat,customer_id,article_id,price,sales_channel_id
2018-09-20,{ANN},0108775015,0.0508305084745762,2
2018-09-20,{ANN},0110065001,0.0304915254237288,1
2020-09-22,{BEA},0108775015,0.0152372881355932,2
"""
ARTICLES = (
    "article_id,product_code,prod_name,product_type_no,product_type_name,product_group_name,"
    "graphical_appearance_no,graphical_appearance_name,colour_group_code,colour_group_name,"
    "perceived_colour_value_id,perceived_colour_value_name,perceived_colour_master_id,"
    "perceived_colour_master_name,department_no,department_name,index_code,index_name,"
    "index_group_no,index_group_name,section_no,section_name,garment_group_no,"
    "garment_group_name,detail_desc\n"
    "0108775015,0108775,Strap top ,253,Vest top,Garment Upper body,1010016,Solid,09,Black,4,Dark,"
    "5,Black,1676,Jersey Basic,A,Ladieswear,1,Ladieswear,16,Womens Everyday Basics,1002,Jersey"
    " Basic,Jersey top with narrow shoulder straps.\n"
    "0110065001,0110065,OP T-shirt (Idro),306,Bra,Underwear,1010016,Solid,09,Black,4,Dark,5,Black,"
    '1339,Clean Lingerie,B,Lingeries/Tights,1,Ladieswear,61,Womens Lingerie,1017,"Under-,'
    ' Nightwear","Microfibre ""T-shirt"" bra, lightly padded."\n'
    "0116379047,0116379,Shorts,1,,,,,,,,,,,,,,,,,,,,,\n"
)


@pytest.fixture
def source(tmp_path):
    """The competition's files, by its page: columns, ids of ten digits, folders of pictures."""
    folder = tmp_path / "hm"
    (folder / "images" / "010").mkdir(parents=True)
    (folder / "images" / "010" / "0108775015.jpg").touch()
    (folder / "transactions_train.csv").write_text(TRANSACTIONS)
    (folder / "articles.csv").write_text(ARTICLES)
    (folder / "customers.csv").write_text("customer_id,FN\n")
    return folder


def micro(day):
    return (datetime.date.fromisoformat(day) - datetime.date(1970, 1, 1)).days * DAY


def test_transactions(source):
    assert source_format(source).name == "hm"
    content = HM().read(source)
    assert raw.rows(content.parts["interactions"].frame) == {
        (ANN, "0108775015", micro("2018-09-20")),
        (ANN, "0110065001", micro("2018-09-20")),
        (BEA, "0108775015", micro("2020-09-22")),
    }
    assert content.warnings == ()


def test_articles(source):
    items = HM().read_items(source)
    assert items.width == 27
    assert items.select("item_id", "text", "image", "colour_group_code").rows() == [
        (
            "0108775015",
            "Strap top. Vest top. Black. Jersey Basic. Jersey top with narrow shoulder straps.",
            str(source.resolve() / "images" / "010" / "0108775015.jpg"),
            "09",
        ),
        (
            "0110065001",
            'OP T-shirt (Idro). Bra. Black. Clean Lingerie. Microfibre "T-shirt" bra, lightly'
            " padded.",
            None,
            "09",
        ),
        ("0116379047", "Shorts", None, None),
    ]


def test_ids_that_have_lost_their_zero_have_it_again(source):
    path = source / "transactions_train.csv"
    path.write_text(TRANSACTIONS.replace(",01", ",1"))
    content = HM().read(source)
    assert set(content.parts["interactions"].frame["item"]) == {"0108775015", "0110065001"}
    [warning] = content.warnings
    assert "2 article ids have lost their first 0" in warning
    # Where the articles have lost it, too, only the pictures are named by the whole id.
    (source / "articles.csv").write_text(ARTICLES.replace("\n01", "\n1"))
    content = HM().read(source)
    assert set(content.parts["interactions"].frame["item"]) == {"108775015", "110065001"}
    assert content.warnings == ()
    assert HM().read_items(source)["image"][0].endswith("images/010/0108775015.jpg")


def test_what_was_read_is_written_again(source, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    notes = HM().write(HM().read(source), HM().read_items(source), out, "made")
    assert notes == [
        "timestamp: taken as microseconds since 1970, and written as days",
        "transactions_train.csv: no column price, sales_channel_id",
        "image: the files stay where they are; the layout has image in images/<first 3"
        " digits>/<article_id>.jpg, link them there",
    ]
    raw.same(HM().read(out), HM().read(source))
    assert HM().read_items(out).equals(HM().read_items(source).drop("image"))
    header = ARTICLES.partition("\n")[0]
    assert (out / "articles.csv").read_text().partition("\n")[0] == header


@st.composite
def dated(draw):
    """Interactions of the days that the layout holds, or of none."""
    timed = draw(st.booleans())
    content = draw(raw.raw_datasets(split=False, timed=timed, modalities=()))
    if not timed:
        return content
    table = content.parts["interactions"]
    days = st.integers(1_200, 30_000).map(lambda day: day * DAY)
    times = [draw(days) for _ in range(table.frame.height)]
    frame = table.frame.with_columns(pl.Series("timestamp", times, dtype=pl.Int64))
    return raw.RawDataset({"interactions": type(table)(table.path, frame)})


WORDS = st.none() | st.text(string.printable + "é中", min_size=1).filter(str.strip)


@settings(max_examples=40, deadline=None)
@given(content=dated(), data=st.data())
def test_round_trip(tmp_path_factory, content, data):
    ids = data.draw(st.lists(raw.IDS, min_size=1, max_size=3, unique=True))
    items = pl.DataFrame(
        {"item_id": ids} | {name: [data.draw(WORDS) for _ in ids] for name in ("prod_name", "x")},
        schema=dict.fromkeys(("item_id", "prod_name", "x"), pl.String),
    )
    folder = tmp_path_factory.mktemp("hm")
    HM().write(content, items, folder, "made")
    assert HM().recognises(folder)
    raw.same(HM().read(folder), content)
    assert HM().read_items(folder).drop("text").equals(items)


@pytest.mark.parametrize(
    ("times", "days", "unit", "inexact"),
    [
        ([1_600_000_000, 86_400], ["2020-09-13", "1970-01-02"], "seconds", 1),
        ([1_600_000_000_000, 0], ["2020-09-13", "1970-01-01"], "milliseconds", 1),
        ([1_537_401_600_000_000], ["2018-09-20"], "microseconds", 0),
        ([1_537_401_600_000_000_000], ["2018-09-20"], "nanoseconds", 0),
        ([-86_400], ["1969-12-31"], "seconds", 0),
    ],
)
def test_timestamps_of_any_unit_become_days(tmp_path, times, days, unit, inexact):
    content = raw.RawDataset(
        {"interactions": raw.table([(f"u{i}", "a") for i in range(len(times))], timestamps=times)}
    )
    notes = HM().write(content, None, tmp_path, "made")
    lines = (tmp_path / "transactions_train.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == days
    assert f"taken as {unit}" in notes[0]
    assert sum("had a time of day" in note for note in notes) == inexact


def test_what_is_lost_is_told(tmp_path):
    part = raw.table([("u", "a")], ratings=[2.0])
    content = raw.RawDataset(
        {"train": part, "val": part, "test": part}, {"image": raw.features({"a": [1.0]})}
    )
    items = pl.DataFrame({"item_id": ["a"], "text": ["Warm hat"], "prod_name": ["Hat"]})
    assert HM().write(content, items, tmp_path, "made") == [
        "left out, for the layout has no place for it: ratings, features, which part of the split"
        " an interaction is in",
        "transactions_train.csv: no column t_dat, price, sales_channel_id",
        "text of 1 items: not in the articles' words, and left out",
    ]


def test_text_becomes_the_description_where_there_are_no_words(tmp_path):
    content = raw.RawDataset({"interactions": raw.table([("u", "a")])})
    items = pl.DataFrame({"item_id": ["a"], "text": ["Warm, red."], "brand": ["X"]})
    HM().write(content, items, tmp_path, "made")
    assert HM().read_items(tmp_path).rows(named=True) == [
        {"item_id": "a", "text": "Warm, red.", "brand": "X", "detail_desc": "Warm, red."}
    ]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("transactions_train.csv", ("2020-09-22", "2020-09-32"), "line 4, column 't_dat': .*-32'"),
        ("transactions_train.csv", ("article_id", "article"), "line 1: no column 'article_id'"),
        ("transactions_train.csv", (",2\n2018", ",2,9\n2018"), "line 2, column 6: 6 fields"),
        ("articles.csv", ("0110065001", "0108775015"), "line 3, column 'article_id': id '01087750"),
        ("articles.csv", ("0110065001", ""), "line 3, column 'article_id': the id is empty"),
        ("articles.csv", ("lightly padded", '"lightly"'), "line 3, column 1: a quoted value"),
    ],
)
def test_what_is_broken_is_named(source, name, change, message):
    path = source / name
    path.write_text(path.read_text().replace(*change))
    read = HM().read_items if name == "articles.csv" else HM().read
    with pytest.raises(InputError, match=f"{name}, {message}"):
        read(source)


def test_folders_that_lack_a_file(source):
    (source / "articles.csv").unlink()
    assert HM().read_items(source) is None
    (source / "transactions_train.csv").unlink()
    assert not HM().recognises(source)
    with pytest.raises(InputError, match=r"transactions_train\.csv: no such file"):
        HM().read(source)


@pytest.mark.parametrize("name", ["transactions_train.csv", "articles.csv"])
@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_broken_file_is_read_or_named(source, name, data):
    path = source / name
    whole = {"transactions_train.csv": TRANSACTIONS, "articles.csv": ARTICLES}[name].encode()
    path.write_bytes(whole)
    broken.break_lines(path, ",", data)
    broken.fails_well(lambda: (HM().read(source), HM().read_items(source)), path)
