import string

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extract.errors import InputError
from mmssl.data.formats.movielens import MovieLens
from mmssl.data.formats.registry import source_format
from tests.mmssl.data.formats import broken, raw

FILES = {
    "latest": {
        "ratings.csv": "userId,movieId,rating,timestamp\n1,1,4.0,964982703\n1,3,3.5,964981247\n"
        "2,11,0.5,1445714835\n",
        "movies.csv": "movieId,title,genres\n"
        "1,Toy Story (1995),Adventure|Animation|Children\n"
        '3,"Postman, The (Postino, Il) (1994)",Comedy\n'
        '11,"""Great"" One, The (1995)",(no genres listed)\n',
        "links.csv": "movieId,imdbId,tmdbId\n1,0114709,862\n3,0113228,\n11,0112346,9087\n",
        "tags.csv": "userId,movieId,tag,timestamp\n1,1,pixar,1139045764\n2,1,pixar,1139045765\n"
        "2,1,fun,1139045766\n2,3,old,1139045767\n",
    },
    "1m": {
        "ratings.dat": "1::1::4::964982703\n1::3::3.5::964981247\n2::11::0.5::1445714835\n",
        "movies.dat": "1::Toy Story (1995)::Adventure|Animation|Children\n"
        "3::Misérables, Les (1995)::Comedy\n11::Shadow: Two (1995)::Drama\n",
    },
    "100k": {
        "u.data": "1\t1\t4\t964982703\n1\t3\t3.5\t964981247\n2\t11\t0.5\t1445714835\n",
        "u.item": "1|Toy Story (1995)|01-Jan-1995||http://us.imdb.com/M/title-exact?Toy|"
        "0|0|1|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
        "3|Misérables, Les (1995)|01-Jan-1995||http://us.imdb.com/M/|"
        "0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
        "11|unknown||||1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n",
    },
}
ENCODINGS = {"latest": "utf-8", "1m": "iso-8859-1", "100k": "iso-8859-1"}


def make(folder, kind, encoding=None):
    """A folder by the README of that size."""
    folder.mkdir(exist_ok=True)
    for name, text in FILES[kind].items():
        (folder / name).write_text(text, encoding=encoding or ENCODINGS[kind])
    return folder


@pytest.mark.parametrize("kind", FILES)
def test_ratings_of_every_kind(tmp_path, kind):
    source = make(tmp_path / "ml", kind)
    assert source_format(source).name == "movielens"
    content = MovieLens().read(source)
    assert raw.rows(content.parts["interactions"].frame) == {
        ("1", "1", 4.0, 964982703),
        ("1", "3", 3.5, 964981247),
        ("2", "11", 0.5, 1445714835),
    }
    assert not content.features


def test_items_of_the_csv_files(tmp_path):
    source = make(tmp_path / "ml", "latest")
    (source / "posters").mkdir()
    (source / "images").mkdir()
    for name in ("posters/1.png", "posters/1.jpg", "images/1.jpg", "images/3.webp", "images/x.txt"):
        (source / name).touch()
    assert MovieLens().read_items(source).rows(named=True) == [
        {
            "item_id": "1",
            "text": "Toy Story (1995). Adventure, Animation, Children",
            "title": "Toy Story (1995)",
            "genres": "Adventure|Animation|Children",
            "imdbId": "0114709",
            "tmdbId": "862",
            "tags": "pixar|fun",
            "image": str(source.resolve() / "posters" / "1.jpg"),
        },
        {
            "item_id": "3",
            "text": "Postman, The (Postino, Il) (1994). Comedy",
            "title": "Postman, The (Postino, Il) (1994)",
            "genres": "Comedy",
            "imdbId": "0113228",
            "tmdbId": None,
            "tags": "old",
            "image": str(source.resolve() / "images" / "3.webp"),
        },
        {
            "item_id": "11",
            "text": '"Great" One, The (1995)',
            "title": '"Great" One, The (1995)',
            "genres": None,
            "imdbId": "0112346",
            "tmdbId": "9087",
            "tags": None,
            "image": None,
        },
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "iso-8859-1"])
def test_movies_dat_in_the_encoding_of_1m_or_10m(tmp_path, encoding):
    source = make(tmp_path / "ml", "1m", encoding)
    assert MovieLens().read_items(source)["text"].to_list() == [
        "Toy Story (1995). Adventure, Animation, Children",
        "Misérables, Les (1995). Comedy",
        "Shadow: Two (1995). Drama",
    ]


def test_genres_of_100k(tmp_path):
    found = MovieLens().read_items(make(tmp_path / "ml", "100k"))
    assert found["genres"].to_list() == ["Adventure|Animation|Children's", "Comedy", None]
    assert found["text"][1:].to_list() == ["Misérables, Les (1995). Comedy", "unknown"]


def test_the_copy_with_dates_and_other_names(tmp_path):
    (tmp_path / "rating.csv").write_text(
        '"userId","movieId","rating","timestamp"\n1,2,3.5,"2005-04-02 23:53:47"\n'
    )
    (tmp_path / "movie.csv").write_text(
        '"movieId","title","genres"\n2,"Jumanji (1995)","Fantasy"\n'
    )
    assert MovieLens().recognises(tmp_path)
    frame = MovieLens().read(tmp_path).parts["interactions"].frame
    assert frame["timestamp"].to_list() == [1112486027 * 1_000_000]
    assert MovieLens().read_items(tmp_path)["text"].to_list() == ["Jumanji (1995). Fantasy"]


TEXTS = st.text(string.printable + "é中", min_size=1).filter(lambda text: text.strip(" "))


@st.composite
def item_tables(draw):
    ids = draw(st.lists(raw.IDS, min_size=1, max_size=4, unique=True))
    genres = st.lists(st.text(string.ascii_letters + "-' ", min_size=1), min_size=1).map("|".join)
    return pl.DataFrame(
        {
            "item_id": ids,
            "title": [draw(TEXTS) for _ in ids],
            "genres": [draw(st.none() | genres) for _ in ids],
        },
        schema_overrides={"genres": pl.String},
    )


@settings(max_examples=40, deadline=None)
@given(data=st.data(), items=item_tables())
def test_round_trip(tmp_path_factory, data, items):
    rated, timed = data.draw(st.booleans()), data.draw(st.booleans())
    content = data.draw(raw.raw_datasets(split=False, rated=rated, timed=timed, modalities=()))
    folder = tmp_path_factory.mktemp("movielens")
    notes = MovieLens().write(content, items, folder, "made")
    assert MovieLens().recognises(folder)
    raw.same(MovieLens().read(folder), content)
    assert MovieLens().read_items(folder).drop("text").equals(items)
    assert any("ratings.csv: no column" in note for note in notes) is not (rated and timed)


def test_what_is_lost_is_told(tmp_path):
    part = raw.table([("u", "a")], timestamps=[1_500_000_000_000])
    content = raw.RawDataset(
        {"train": part, "val": part, "test": part}, {"image": raw.features({"a": [1.0]})}
    )
    items = pl.DataFrame(
        {"item_id": ["a"], "text": ["Red hat. Wool"], "title": ["Red hat"], "price": ["3"],
         "image": ["/media/a.jpg"]}
    )  # fmt: skip
    assert MovieLens().write(content, items, tmp_path, "made") == [
        "left out, for the layout has no place for it: features, which part of the split an"
        " interaction is in",
        "ratings.csv: no column rating",
        "movieId: the ids are written as they are; tools that want MovieLens' whole numbers do not"
        " take them",
        "timestamp: written as it is; MovieLens counts seconds since 1970",
        "text of 1 items: not in title and genres, and left out",
        "columns of items left out: price",
        "image: the files stay where they are; the layout has image in posters/<movieId>.jpg, link"
        " them there",
    ]
    assert (tmp_path / "ratings.csv").read_text() == (
        "userId,movieId,timestamp\n" + "u,a,1500000000000\n" * 3
    )
    assert (tmp_path / "movies.csv").read_text() == (
        "movieId,title,genres\na,Red hat,(no genres listed)\n"
    )


def test_text_becomes_the_title_where_there_is_none(tmp_path):
    content = raw.RawDataset({"interactions": raw.table([("1", "7")])})
    items = pl.DataFrame({"item_id": ["7"], "text": ["A film, of sorts"]})
    MovieLens().write(content, items, tmp_path, "made")
    assert MovieLens().read_items(tmp_path)["text"].to_list() == ["A film, of sorts"]


@pytest.mark.parametrize(
    ("kind", "name", "change", "message"),
    [
        ("latest", "ratings.csv", ("3.5", "much"), r"ratings\.csv, line 3, column 'rating'"),
        ("latest", "ratings.csv", ("movieId", "movie"), r"s\.csv, line 1: no column 'movieId'"),
        ("latest", "movies.csv", ("\n3,", "\n1,"), r"s\.csv, line 3, column 'movieId': id '1'"),
        ("latest", "links.csv", ("\n3,", "\n1,"), r"links\.csv, line 3, column 'movieId': id '1'"),
        ("1m", "ratings.dat", ("1::3::", "1::3::9::"), r"ratings\.dat, line 2, column 5: 5 fields"),
        ("1m", "ratings.dat", ("::964981247", "::x"), r"ratings\.dat, line 2, column 'timestamp'"),
        ("1m", "movies.dat", ("Comedy", "a::b"), r"movies\.dat, line 2, column 4"),
        ("100k", "u.item", ("\n3|", "\n|"), r"u\.item, line 2, column 'movieId': the id is empty"),
    ],
)  # fmt: skip
def test_what_is_broken_is_named(tmp_path, kind, name, change, message):
    path = make(tmp_path / "ml", kind) / name
    encoding = ENCODINGS[kind]
    path.write_text(path.read_text(encoding).replace(*change), encoding)
    read = MovieLens().read if "rat" in name else MovieLens().read_items
    with pytest.raises(InputError, match=message):
        read(path.parent)


def test_a_folder_without_ratings(tmp_path):
    assert not MovieLens().recognises(tmp_path)
    with pytest.raises(InputError, match=r"none of ratings\.csv"):
        MovieLens().read(tmp_path)


SEPARATORS = {"csv": ",", "dat": "::", "data": "\t", "item": "|"}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in FILES for name in FILES[kind]])
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_broken_file_is_read_or_named(tmp_path, kind, name, data):
    path = make(tmp_path / "ml", kind) / name
    separator = SEPARATORS[path.suffix[1:]]
    broken.break_lines(path, separator, data)
    broken.fails_well(
        lambda: (MovieLens().read(path.parent), MovieLens().read_items(path.parent)), path
    )


def test_columns_of_links_do_not_take_the_place_of_others(tmp_path):
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating\n1,1,4\n")
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n1,A,X\n")
    (tmp_path / "links.csv").write_text(
        "movieId,item_id,title,text,tags,image,imdbId\n1,a,b,c,d,e,f\n"
    )
    items = MovieLens().read_items(tmp_path)
    assert items.to_dicts() == [
        {"item_id": "1", "text": "A. X", "title": "A", "genres": "X", "imdbId": "f"}
    ]
