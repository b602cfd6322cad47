"""Propagation of the id embeddings along the interaction graph (METHOD equation 10)."""

from collections.abc import Callable, Sequence
from typing import Literal

from torch import Tensor

from mmssl.data.graphs import Graph
from mmssl.model.side_graphs import SideGraphs
from mmssl.model.views import first_rows
from mmssl.vectors import TwoSided


def propagate(
    start: TwoSided,
    graphs: Sequence[Graph],
    order: Literal["alternating", "simultaneous"],
    final_softmax: bool = False,
    rows: tuple[int, int] | None = None,
    beside: SideGraphs = SideGraphs(None, None),  # noqa: B008 - frozen
    perturb: Callable[[Tensor], Tensor] | None = None,
) -> TwoSided:
    """c: the mean over layers 0..L of the embeddings that the graphs carry from side to side.

    ``alternating`` is the paper's order, u_l = A_ui i_(l-1) then i_l = A_iu u_l, in which the user
    embeddings never reach an item; ``simultaneous`` takes both sides from layer l - 1 (LightGCN).
    With ``final_softmax`` the last layer's two sides pass a softmax over the dimensions.

    Args:
        start: layer 0.
        graphs: the graph of each layer, layer 1 first: the same one L times, or samples of it.
        order, final_softmax: see above.
        rows: the first users and items of every layer, which the mean is wanted for; all of layer
            0, when left out.
        beside: what the layer before adds within each side: u_l = A_ui i_(l-1) + S_u u_(l-1), and
            for the items alike.
        perturb: done to each side's vectors of every layer above 0, as the next layer sees them.
    """
    user, item = start.user, start.item
    n_users, n_items = rows or (len(user), len(item))
    user_sum, item_sum = first_rows(user, n_users), first_rows(item, n_items)
    for layer, graph in enumerate(graphs, start=1):
        next_user = graph.to_users @ item
        if beside.users is not None:
            next_user = next_user + beside.users @ user
        squash = final_softmax and layer == len(graphs)
        if squash:
            next_user = next_user.softmax(dim=1)
        next_item = graph.to_items @ (next_user if order == "alternating" else user)
        if beside.items is not None:
            next_item = next_item + beside.items @ item
        item = next_item
        if squash:
            item = item.softmax(dim=1)
        user = next_user
        if perturb is not None:
            user, item = perturb(user), perturb(item)
        user_sum = user_sum + first_rows(user, n_users)
        item_sum = item_sum + first_rows(item, n_items)
    return TwoSided(user_sum / (len(graphs) + 1), item_sum / (len(graphs) + 1))
