"""What is as wide as the catalogue is refused where it would not fit into memory."""

from extract.errors import InputError
from mmssl.model.config import MMSSLConfig
from mmssl.model.critic_block import block_items

# Bytes that the parts below may take.
_BOUND = 8 * 2**30
_FLOAT = 4
# Users and items of a step that never come near the bound.
_SAMPLED = 1024


def refuse_what_is_too_large(
    config: MMSSLConfig, n_users: int, n_items: int, modalities: int
) -> None:
    """Check what holds rows over many items or over many users at once.

    That is the critic, with ``critic_items: all`` or many and with ``critic_hidden: catalogue``;
    the stepwise refresh; and the contrasts, which compare all of a batch's users, or items.

    Args:
        config: the run's configuration.
        n_users: U.
        n_items: I.
        modalities: M.

    Raises:
        InputError: one of them needs more than 8 GiB; the message says what to set instead.
    """
    adversarial, batch = config.adversarial, config.optimiser.batch_users
    needs: list[tuple[int, str, str]] = []
    if adversarial.weight > 0:
        columns = block_items(adversarial, n_items)
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
        rows = (4 * modalities + 8) * min(batch, adversarial.critic_users) * columns
        if hidden == "catalogue" and weights > rows and adversarial.critic_items != "all":
            needs.append((weights + rows, "adversarial.critic_hidden=catalogue", "[128, 64]"))
        elif columns > _SAMPLED:
            shown = f"adversarial.critic_items={adversarial.critic_items}"
            needs.append((weights + rows, shown, f"{_SAMPLED}"))
    if config.contrast.weight > 0:
        # Similarities to both views of all the batch's users, their exponentials and gradients.
        together = min(batch, n_users)
        needs.append(
            (8 * modalities * together**2, f"optimiser.batch_users={batch}", f"{_SAMPLED}")
        )
    if config.noise_contrast.weight > 0:
        # Similarities, their exponentials and gradients, of users or of items; batches of users
        # have no more of one than of the other.
        of_users = config.optimiser.batches == "users"
        widest = min(batch, n_users if of_users else max(n_users, n_items))
        needs.append((8 * widest**2, f"optimiser.batch_users={batch}", f"{_SAMPLED}"))
    if config.relations.schedule == "steps":
        # Similarities, observations, their product and its ranking.
        needs.append((6 * batch * n_items, "relations.schedule=steps", "epochs"))
    for entries, setting, instead in needs:
        if entries * _FLOAT > _BOUND:
            raise InputError(
                f"{setting} is too much for {n_users:,} users and {n_items:,} items: about"
                f" {entries * _FLOAT / 2**30:,.0f} GiB, more than the {_BOUND / 2**30:.0f} GiB that"
                f" are allowed; set {setting.partition('=')[0]}={instead}"
            )


def refuse_what_one_user_cannot_do(config: MMSSLConfig, batch_users: int) -> None:
    """Check that a critic with batch normalisation sees more than one row at once.

    Args:
        config: the run's configuration.
        batch_users: users of a batch, those that there are.

    Raises:
        InputError: it sees one; the message says what to set instead.
    """
    adversarial = config.adversarial
    if not (adversarial.weight and adversarial.critic_batch_norm):
        return
    if min(adversarial.critic_users, batch_users) < 2:
        raise InputError(
            "adversarial.critic_batch_norm=true has nothing to normalise over with one user a step;"
            " raise adversarial.critic_users and optimiser.batch_users, or set it to false"
        )


def refuse_what_needs_one_process(config: MMSSLConfig, batch_users: int, count: int) -> None:
    """Refuse what several processes would compute otherwise than one.

    Raises:
        InputError: the batches of ``batch_users`` users are too small for ``count`` processes, or a
            setting does not fit.
    """
    if count == 1:
        return
    adversarial = config.adversarial
    if batch_users < count:
        raise InputError(
            f"{count} processes share batches of {batch_users} users: start fewer processes, or"
            " raise optimiser.batch_users"
        )
    if not adversarial.weight:
        return
    if config.optimiser.batches == "interactions":
        raise InputError(
            "a critic on optimiser.batches=interactions trains in one process: an epoch's last"
            " batch may have too few users to share; set optimiser.batches=users"
        )
    if adversarial.critic_users < count:
        raise InputError(
            f"{count} processes share adversarial.critic_users={adversarial.critic_users}: start"
            " fewer processes, or raise it"
        )
    if adversarial.critic_batch_norm:
        raise InputError(
            "adversarial.critic_batch_norm=true trains in one process: each of"
            f" {count} would normalise over its own users only"
        )
