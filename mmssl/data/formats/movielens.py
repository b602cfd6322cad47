"""MovieLens of every size, as GroupLens publishes it.

By the README of each: ml-latest, 20M, 25M and 32M have ``ratings.csv`` (userId, movieId, rating,
timestamp), ``movies.csv`` (movieId, title, genres), ``links.csv`` and ``tags.csv``; 1M and 10M have
``ratings.dat`` (UserID::MovieID::Rating::Timestamp) and ``movies.dat`` (MovieID::Title::Genres), 1M
in ISO 8859-1 and 10M in UTF-8; 100K has ``u.data`` with tabs and ``u.item`` with ``|`` and a column
of 0 or 1 a genre. Kaggle's copy of 20M calls its files ``rating.csv``, ``movie.csv`` and so on.
Timestamps are seconds since 1970. MovieLens has no pictures; those that people fetch lie in
``posters/``, ``poster/`` or ``images/`` by movie id.
"""

from pathlib import Path
from typing import ClassVar

import polars as pl

from extract.errors import InputError
from mmssl.data.files.delimited import DelimitedTable, read_delimited, write_delimited
from mmssl.data.files.finding import first_line
from mmssl.data.formats.base import MEDIA, RawDataset, WritableFormat, left_out, uneven
from mmssl.data.formats.item_tables import (
    PICTURES,
    items_left_out,
    joined,
    media_by_id,
    with_media,
)
from mmssl.data.interactions import InvalidRows

_ROLES = {"user": "userId", "item": "movieId", "rating": "rating", "timestamp": "timestamp"}
_NO_GENRES = "(no genres listed)"
_POSTERS = ("posters", "poster", "images")
# The columns of u.item after the first five, by the README of 100K.
_GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary",
    "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi",
    "Thriller", "War", "Western",
)  # fmt: skip
_U_ITEM = ("movieId", "title", "release date", "video release date", "IMDb URL", *_GENRES_100K)


class MovieLens(WritableFormat):
    """MovieLens, from 100K to 32M."""

    name: ClassVar = "movielens"
    title: ClassVar = "MovieLens: ratings.csv, ratings.dat or u.data, with the movies beside"

    def recognises(self, source: Path) -> bool:
        """A folder with ratings of one of the three kinds."""
        ratings = _ratings(source)
        if ratings is None:
            return False
        if ratings.suffix == ".csv":
            return "movieId" in first_line(ratings)
        if ratings.suffix == ".dat":
            return (source / "movies.dat").is_file() and "::" in first_line(ratings)
        return (source / "u.item").is_file()

    def read(self, source: Path, invalid_rows: InvalidRows = "error") -> RawDataset:
        """Read the ratings; see ``Format.read``."""
        path = _ratings(source)
        if path is None:
            raise InputError(f"{source}: holds none of ratings.csv, ratings.dat and u.data")
        if path.suffix == ".csv":
            table = read_delimited(path, ",", columns=list(_ROLES.values()), quoted=True)
            roles = {
                role: column
                for role, column in _ROLES.items()
                if role in ("user", "item") or column in table.frame.columns
            }
        else:
            separator = "::" if path.suffix == ".dat" else "\t"
            table = read_delimited(path, separator, names=list(_ROLES.values()))
            roles = _ROLES
        return RawDataset(
            {"interactions": table.interactions(roles, invalid_rows)}, sources={"ratings": path}
        )

    def read_items(self, source: Path) -> pl.DataFrame | None:
        """Read movies, links, tags and posters; see ``Format.read_items``.

        The text is title and genres: ``Toy Story (1995). Adventure, Animation``. ``tags`` holds
        what people called the movie, the most frequent first, separated by ``|``; it is no part of
        the text, for tags come from the same people and times as the ratings.
        """
        items = _movies(source)
        if items is None:
            return None
        for links in _csv(source, "links"):
            table = read_delimited(links, ",", quoted=True)
            table.unique_ids("movieId")
            others = table.frame.select(
                pl.col("movieId").alias("item_id"),
                # Of names that have a meaning here, the movies' own columns count.
                pl.all().exclude("movieId", "text", "tags", *MEDIA, *items.columns),
            )
            items = items.join(others, on="item_id", how="left", maintain_order="left")
        for tags in _csv(source, "tags"):
            table = read_delimited(tags, ",", quoted=True, columns=("movieId", "tag"))
            table.require("movieId", "tag")
            items = items.join(_by_movie(table), on="item_id", how="left", maintain_order="left")
        items = items.select("item_id", _text().alias("text"), pl.all().exclude("item_id"))
        return with_media(
            items, "image", media_by_id((source / name for name in _POSTERS), PICTURES)
        )

    def write(
        self, content: RawDataset, items: pl.DataFrame | None, folder: Path, name: str
    ) -> list[str]:
        """Write the CSV files of ml-latest; see ``WritableFormat.write``.

        Ids are written as they are, also where they are not the whole numbers of MovieLens.
        """
        del name
        ratings = content.together()
        there = {role: column for role, column in _ROLES.items() if role in ratings.columns}
        write_delimited(
            ratings.select(pl.col(role).alias(column) for role, column in there.items()),
            folder / "ratings.csv",
            ",",
            header=True,
            quoted=True,
        )
        notes = uneven(content) + left_out(content, items, holds=("rating", "timestamp", "items"))
        if missing := [column for column in _ROLES.values() if column not in there.values()]:
            notes.append(f"ratings.csv: no column {', '.join(missing)}")
        if not ratings["item"].str.contains(r"^\d+$").all():
            notes.append(
                "movieId: the ids are written as they are; tools that want MovieLens' whole"
                " numbers do not take them"
            )
        if "timestamp" in there and bool((ratings["timestamp"].abs() >= _SECONDS).any()):
            notes.append("timestamp: written as it is; MovieLens counts seconds since 1970")
        return notes + _write_items(items, folder)


# No date before the year 5138 has as many seconds.
_SECONDS = 100_000_000_000


def _ratings(source: Path) -> Path | None:
    found = [*_csv(source, "ratings"), source / "ratings.dat", source / "u.data"]
    return next((path for path in found if path.is_file()), None)


def _csv(source: Path, stem: str) -> list[Path]:
    """A file of GroupLens' name, or of that without s in Kaggle's copy; at most one."""
    names = (f"{stem}.csv", f"{stem.removesuffix('s')}.csv")
    return [path for name in names if (path := source / name).is_file()][:1]


def _movies(source: Path) -> pl.DataFrame | None:
    """``item_id``, ``title`` and ``genres``, separated by ``|``, null where none are listed."""
    if movies := _csv(source, "movies"):
        table = read_delimited(movies[0], ",", quoted=True)
    elif (path := source / "movies.dat").is_file():
        names = ("movieId", "title", "genres")
        table = read_delimited(path, "::", names=names, encoding=_encoding(path))
    elif (path := source / "u.item").is_file():
        table = read_delimited(path, "|", names=_U_ITEM, encoding=_encoding(path))
        flags = [pl.when(pl.col(name) == "1").then(pl.lit(name)) for name in _GENRES_100K[1:]]
        genres = joined(*flags, separator="|").alias("genres")
        table.unique_ids("movieId")
        return table.frame.select(pl.col("movieId").alias("item_id"), "title", genres)
    else:
        return None
    table.require("title", "genres")
    ids = table.unique_ids("movieId")
    listed = pl.when(pl.col("genres") != _NO_GENRES).then("genres")
    return table.frame.select(ids.alias("item_id"), "title", listed)


def _text() -> pl.Expr:
    return joined("title", pl.col("genres").str.replace_all("|", ", ", literal=True))


def _encoding(path: Path) -> str:
    """UTF-8 where it is, else ISO 8859-1: the README files tell, the data do not."""
    try:
        path.read_bytes().decode()
    except UnicodeDecodeError:
        return "iso-8859-1"
    return "utf-8"


def _by_movie(table: DelimitedTable) -> pl.DataFrame:
    """``item_id`` and ``tags``."""
    counted = table.frame.drop_nulls().group_by("movieId", "tag").len()
    return (
        counted.sort("len", "tag", descending=[True, False])
        .group_by("movieId", maintain_order=True)
        .agg(pl.col("tag").str.join("|").alias("tags"))
        .rename({"movieId": "item_id"})
    )


def _write_items(items: pl.DataFrame | None, folder: Path) -> list[str]:
    if items is None:
        return []
    movies = items.with_columns(
        pl.lit(None, pl.String).alias(name)
        for name in ("title", "genres", "text")
        if name not in items.columns
    )
    if "title" not in items.columns:
        movies = movies.with_columns(title="text")
    changed = movies.filter(pl.col("text") != _text()).height
    written = movies.select(
        pl.col("item_id").alias("movieId"), "title", pl.col("genres").fill_null(_NO_GENRES)
    )
    write_delimited(written, folder / "movies.csv", ",", header=True, quoted=True)
    links = [name for name in ("imdbId", "tmdbId") if name in items.columns]
    if links:
        write_delimited(
            items.select(pl.col("item_id").alias("movieId"), *links),
            folder / "links.csv",
            ",",
            header=True,
            quoted=True,
        )
    notes = [f"text of {changed:,} items: not in title and genres, and left out"] * bool(changed)
    return notes + items_left_out(
        items, holds=("title", "genres", *links), media="image in posters/<movieId>.jpg"
    )
