"""What the API answers, as models of the OpenAPI document."""

from typing import Literal

from pydantic import BaseModel


class Problem(BaseModel):
    """Why there is no answer, in one line."""

    detail: str


class Item(BaseModel):
    """An item; ``image`` and ``audio`` are relative URLs, null where it has none."""

    id: str
    title: str
    text: str | None
    image: str | None
    audio: str | None


class Found(Item):
    """An item that was searched for, and the field that holds the words."""

    match: Literal["id", "title", "text"]


class Modality(BaseModel):
    """A modality of the model; ``searchable`` where its encoder can be had here."""

    name: str
    encoder: str | None
    searchable: bool


class Model(BaseModel):
    """The model; ``version`` is the same for the same files and differs for others."""

    name: str
    variant: str
    version: str
    users: int
    items: int
    parts: list[str]
    spaces: list[str]
    modalities: list[Modality]
    metrics: dict[str, float]
    popularity: dict[str, float]


class Users(BaseModel):
    """Ids of users."""

    users: list[str]


class Items(BaseModel):
    """Items that were searched for."""

    items: list[Found]


class History(BaseModel):
    """What a user has interacted with."""

    user: str
    items: list[Item]


class Recommended(BaseModel):
    """An item of a list; ``rank`` counts from 1."""

    rank: int
    score: float
    item: Item


class Recommendations(BaseModel):
    """The list of a user; its source is ``popularity`` where the model knows nothing of them."""

    user: str
    source: Literal["model", "popularity"]
    items: list[Recommended]


class Similar(BaseModel):
    """An item of a list of like ones."""

    rank: int
    similarity: float
    item: Item


class SimilarItems(BaseModel):
    """The items most like one, in a space."""

    item: Item
    space: str
    items: list[Similar]


class Neighbour(BaseModel):
    """An item and how like it is."""

    similarity: float
    item: Item


class Explanation(BaseModel):
    """What a score is made of; ``shares`` sum to it."""

    user: str
    item: Item
    score: float
    shares: dict[str, float]
    nearest: dict[str, list[Neighbour]]


class SearchResults(BaseModel):
    """The items nearest to what was sent."""

    modality: str
    items: list[Similar]


class Alive(BaseModel):
    """The server runs."""

    status: Literal["ok"]


class Ready(BaseModel):
    """The server can answer, with this version of the model."""

    status: Literal["ok"]
    version: str
