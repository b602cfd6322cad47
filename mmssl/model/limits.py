"""What is as wide as the catalogue is refused where it would not fit into memory."""

from extract.errors import InputError
from mmssl.config import TrainingConfig

# Bytes that the parts below may take.
_BOUND = 8 * 2**30
_FLOAT = 4


def refuse_what_is_too_large(config: TrainingConfig, n_items: int, modalities: int) -> None:
    """Check ``critic_items: all`` and the stepwise refresh, which hold rows over all items.

    Args:
        config: the run's configuration.
        n_items: I.
        modalities: M.

    Raises:
        InputError: together they need more than 8 GiB; the message says what to set instead.
    """
    adversarial, batch = config.adversarial, config.optimiser.batch_users
    needs: list[tuple[int, str, str]] = []
    if adversarial.weight > 0 and adversarial.critic_items == "all":
        hidden = adversarial.critic_hidden
        first, second = (n_items // 4, n_items // 8) if hidden == "catalogue" else hidden
        rows_of_weights = (
            config.backbone.embedding_dim
            if adversarial.critic_weights == "from_vectors"
            else n_items
        )
        # A weight, its gradient and Adam's two moments; generated, mixed and real rows with what
        # their gradients and the penalty's second derivative keep.
        weights = 4 * first * (rows_of_weights + second)
        rows = (4 * modalities + 8) * min(batch, adversarial.critic_users) * n_items
        needs.append((weights + rows, "adversarial.critic_items=all", "1024"))
    if config.relations.schedule == "steps":
        # Similarities, observations, their product and its ranking.
        needs.append((6 * batch * n_items, "relations.schedule=steps", "epochs"))
    for entries, setting, instead in needs:
        if entries * _FLOAT > _BOUND:
            raise InputError(
                f"{setting} holds rows over all {n_items:,} items: about"
                f" {entries * _FLOAT / 2**30:,.0f} GiB, more than the {_BOUND / 2**30:.0f} GiB that"
                f" are allowed; set {setting.partition('=')[0]}={instead}"
            )
