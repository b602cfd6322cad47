"""Propagation of the id embeddings along the interaction graph (METHOD equation 10)."""

from typing import Literal

from mmssl.data.graphs import BipartiteGraph
from mmssl.model.features import TwoSided


def propagate(
    start: TwoSided,
    graph: BipartiteGraph,
    layers: int,
    order: Literal["alternating", "simultaneous"],
    final_softmax: bool = False,
) -> TwoSided:
    """c: the mean over layers 0..L of the embeddings that the graph carries from side to side.

    ``alternating`` is the paper's order, u_l = A_ui i_(l-1) then i_l = A_iu u_l, in which the user
    embeddings never reach an item; ``simultaneous`` takes both sides from layer l - 1 (LightGCN).
    With ``final_softmax`` the last layer's two sides pass a softmax over the dimensions.
    """
    user, item = start.user, start.item
    user_sum, item_sum = user, item
    for layer in range(1, layers + 1):
        next_user = graph.to_users @ item
        squash = final_softmax and layer == layers
        if squash:
            next_user = next_user.softmax(dim=1)
        item = graph.to_items @ (next_user if order == "alternating" else user)
        if squash:
            item = item.softmax(dim=1)
        user = next_user
        user_sum, item_sum = user_sum + user, item_sum + item
    return TwoSided(user_sum / (layers + 1), item_sum / (layers + 1))
