"""The settings of MMSSL; docs and tests name equations and faults of METHOD."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mmssl.config import (
    Count,
    FeatureConfig,
    MixedPrecisionConfig,
    OptimiserConfig,
    Positive,
    Rate,
    Section,
    Weight,
)


class ProjectedFeatureConfig(FeatureConfig):
    """How raw embeddings enter the model (equations 1 and 2)."""

    missing: Literal["zero", "mean", "learned"] = "zero"
    """What stands for an item without the modality: a zero projection, the mean raw vector of the
    items that have it, or one learned projected vector a modality."""
    dropout: Rate = 0.2
    """On the projected features."""


class BackboneConfig(Section):
    """Attention and propagation (equations 9 to 11)."""

    embedding_dim: Count = 64
    """d: numbers in a vector of a user or an item; a multiple of ``heads``."""
    heads: Count = 4
    """H of equation 9: heads of the attention across modalities."""
    attention: Literal["paper", "identity", "scrambled"] = "paper"
    """``identity``: every attention weight acts as the identity (fault 1 of the published code);
    ``scrambled``: keys are a reshape of other users' queries (fault 2, with fault 1 mended)."""
    layers: Annotated[int, Field(ge=0)] = 2
    """L of equation 10; 0: the vectors before any propagation."""
    normalisation: Literal["row", "symmetric"] = "row"
    """``row``: D_u^(-1/2) R and D_i^(-1/2) R^T; ``symmetric``: D_u^(-1/2) R D_i^(-1/2)."""
    propagation_order: Literal["alternating", "simultaneous"] = "alternating"
    """``alternating``: items from the user side just computed; ``simultaneous``: both from the
    layer before."""
    final_softmax: bool = False
    """Softmax over the dimensions at the last layer, as the published code does."""
    propagation: Literal["full", "sampled"] = "full"
    """``full``: every step propagates all users and items. ``sampled``: a step draws neighbourhoods
    of its users and items, so that its cost depends on the batch and not on the graph. What is
    gathered is then an estimate; l_f is taken over the step's nodes, for all; and moments and decay
    of the id tables touch the rows that take part. Graph refresh and evaluation stay whole."""
    fan_outs: Annotated[tuple[Count, ...], Field(min_length=1)] = (10, 5)
    """Under ``sampled``, neighbours drawn of each node at the first hop away from the step's users
    and items, the second, ...; the last one holds for all hops beyond. Features and relation
    embeddings of the step's users count as the first hop."""
    dropout: Rate = 0.0
    """On e^(0) of equation 10, each number by itself, before it is propagated."""
    relation_rate: Weight = 0.36
    """eta of equation 10: weight of the normalised relation embedding beside the id embedding."""
    feature_rate: Weight = 0.55
    """omega of equation 11: weight of the normalised modality features in the final vectors."""

    @model_validator(mode="after")
    def _heads_divide(self) -> "BackboneConfig":
        if self.embedding_dim % self.heads:
            raise ValueError(
                f"embedding_dim {self.embedding_dim} must be a multiple of heads {self.heads}"
            )
        return self

    @model_validator(mode="after")
    def _hops_exist(self) -> "BackboneConfig":
        # Equation 2 has two hops; equation 10 one or two a layer; equation 8 one behind them.
        a_layer = 2 if self.propagation_order == "alternating" else 1
        hops = max(2, a_layer * self.layers + 1)
        if len(self.fan_outs) > hops:
            raise ValueError(f"fan_outs has {len(self.fan_outs)} entries for at most {hops} hops")
        return self


class NeighbourConfig(Section):
    """Frozen graphs within one side, beside the interactions: of items whose media are alike (as
    FREEDOM's; Zhou and Shen, MM 2023), and of users with items in common."""

    item_rate: Weight = 0.0
    """What an item's nearest items add to it in each layer of equation 10, times this; 0: none."""
    items: Count = 10
    """k: items of the highest cosine in a modality, the graphs of all modalities averaged."""
    user_rate: Weight = 0.0
    """What a user's nearest users add to it in each layer of equation 10, times this; 0: none."""
    users: Count = 10
    """k: users of the highest cosine of their training interactions."""


class WalkConfig(Section):
    """Random walks over the training interactions, beside the learned vectors in the score.

    y = h_u . h_i + weight (deviation of h_u . h_i / deviation of w_ui) w_ui, both over all users
    and items; w_ui: what walks from the user's training items bring to i. The walks are made anew
    wherever the model is built, in a time that grows with items x interactions x steps.
    """

    weight: Weight = 0.0
    """0: the score is h_u . h_i alone. 1: both parts vary alike."""
    steps: Count = 3
    """The longest walks, in steps from item to item; the chances of all lengths are added."""
    neighbours: Count = 100
    """Items that an item's walks count for, at most: those reached most."""


class RankingConfig(Section):
    """What orders a user's items: the first term of equation 13."""

    loss: Literal["bpr", "softmax"] = "bpr"
    """``bpr``: against one unobserved item; ``softmax``: the cross-entropy of the positive among
    ``negatives`` uniform items that the whole step shares, a user's observed ones left out."""
    negatives: Count = 1024
    """Items that the softmax compares with; at most all."""
    temperature: Positive = 1.0
    """Divides the scores in the softmax."""


class RelationConfig(Section):
    """The learned relation graph of each modality (equation 7)."""

    graph: Literal["learned", "union", "observed"] = "learned"
    """Learned of the features: where nothing trains these (no feature_rate, critic, reconstruction
    or feature_l2), of projections as they were drawn. Where nothing uses the graphs (no
    relation_rate and no contrast) they stay the observed one."""
    rate: Annotated[float, Field(gt=0, le=1)] = 0.0015
    """Share of the items that a user is joined to: k = max(1, round(rate x items))."""
    similarity: Literal["product", "cosine"] = "product"
    """How alike a user and an item are: F_u . F_i, or F_u . F_i/|F_i|. The product joins nearly all
    users to the same few hundred items, those with the longest F_i."""
    rounding: Literal["nearest", "down"] = "nearest"
    """``down``: k = int(rate x items), which may be 0 (fault 4)."""
    pairing: Literal["own", "tiled"] = "own"
    """``tiled``: edge j joins users[j mod B] with entry j of the users' lists put one after the
    other, another user's item when k > 1 (fault 5)."""
    schedule: Literal["epochs", "steps"] = "epochs"
    """``epochs``: all users' lists, by ``warm_up`` and ``refresh``. ``steps``: an epoch's first
    step collects its batch's lists, the second makes the graph of them alone, and every later one
    makes it of nothing (fault 3); ``warm_up`` and ``refresh`` then mean nothing."""
    max_neighbours: Count | None = None
    """An upper bound of k, so that the graphs of large catalogues stay small; null: none."""
    warm_up: Annotated[int, Field(ge=0)] = 3
    """Epochs with the observed graph before the first rebuild."""
    refresh: Count = 1
    """Epochs between rebuilds."""

    @model_validator(mode="after")
    def _steps_know_the_product_alone(self) -> "RelationConfig":
        if self.schedule == "steps" and self.similarity == "cosine":
            raise ValueError("similarity=cosine does not go with schedule=steps; set one back")
        return self


class ContrastConfig(Section):
    """Cross-modal contrast over the batch's users (equation 12)."""

    weight: Weight = 0.03
    """lambda_cl; 0 switches the contrast off."""
    temperature: Positive = 0.5
    """tau of equation 12."""
    anchor: Literal["final", "collaborative"] = "final"
    """What a modality's relation embedding is contrasted with: h_u or c_u."""
    stop_gradient: Literal["none", "relation", "anchor"] = "none"
    """Which of the two sides of a contrast gets no gradient from it."""


class NoiseContrastConfig(Section):
    """Contrast of two noisy views of the batch's users, and of its positive items (SimGCL; Yu et
    al., SIGIR 2022): equation 10 twice more, with noise on every layer's vectors."""

    weight: Weight = 0.0
    """Of the users' contrast and of the items' alike; 0 switches both off."""
    temperature: Positive = 0.2
    """tau of both contrasts."""
    noise: Positive = 0.1
    """Length of the noise on a vector."""


class AdversarialConfig(Section):
    """Generator and critic of the modality-aware structure (equations 3 to 6)."""

    weight: Weight = 1e-4
    """lambda_g; 0 switches generator and critic off."""
    mask_observed: bool = True
    """Take a user's observed items out of the generated row."""
    critic_users: Count = 256
    """Users of a batch on whom the critic works."""
    critic_items: Annotated[int, Field(ge=2)] | Literal["all"] = 1024
    """Items a step on which rows are compared; ``all`` is the paper's form."""
    critic_hidden: tuple[Count, Count] | Literal["catalogue"] = (128, 64)
    """``catalogue``: a quarter and an eighth of the items, the paper's form (fault 10)."""
    critic_weights: Literal["per_item", "from_vectors"] = "per_item"
    """The critic's first layer: a row of weights an item, or ``from_vectors``: V W' with V the
    detached final item vectors, of a size that does not depend on the items."""
    critic_slope: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Of its LeakyReLU; 1 makes it linear (fault 8)."""
    critic_batch_norm: bool = False
    """Batch normalisation behind each of its activations (fault 9)."""
    critic_output: Literal["linear", "sigmoid"] = "linear"
    """``sigmoid``: 100 times the sigmoid (fault 9)."""
    critic_dropout: tuple[Rate, Rate] = (0.31, 0.5)
    """Behind its first and its second activation."""
    critic_learning_rate: Positive = 3e-4
    """Of the critic's own Adam (betas .5 and .9)."""
    gradient_penalty: Weight = 10.0
    """gp of equation 6: weight of the squared distance of the gradient's norm from 1."""
    gumbel_temperature: Positive = 0.005
    """tau_g of equation 5."""
    temperature_on: Literal["sum", "noise"] = "sum"
    """What tau_g divides: observation and noise together, or the noise alone (fault 6)."""
    gumbel_scale: Weight = 1e-5
    """s of equation 5."""
    prediction_scale: Weight = 1.0
    """zeta of equation 5: weight of the model's own prediction in the real rows; 100 in the
    published code (fault 7)."""
    real_rows: Literal["augmented", "observed"] = "augmented"
    """``augmented``: equation 5; ``observed``: the normalised observed rows alone (w/o-GT)."""
    forward: Literal["shared", "own"] = "shared"
    """Whether the critic's step takes the forward pass of the model's step or, as the published
    code does, one of its own."""


class ReconstructionConfig(Section):
    """A graph autoencoder's objective in the place of the adversarial one (r/p-GAE)."""

    weight: Weight = 0.0
    """lambda_r; 0 switches it off."""


class MMSSLOptimiserConfig(OptimiserConfig):
    """Batches, steps and regularisation (equation 13)."""

    learning_rate: Positive = 5.5e-4
    weight_decay: Weight = 0.01
    embedding_l2: Weight = 1e-5
    """l_e of equation 13: weight of half the squared norms of a batch's vectors, a batch user."""
    feature_l2: Weight = 1e-5
    """l_f of equation 13: weight of half the squared norms of all F, an item."""
    embedding_l2_on: Literal["final", "ids"] = "final"
    """Which vectors of a batch l_e is taken of: h of equation 11, or the id embeddings E."""
    batches: Literal["users", "interactions"] = "users"
    """``users``: the published batches, users drawn without replacement, each with one positive and
    one negative item. ``interactions``: every interaction once an epoch, each with one negative; a
    user may stand in a batch several times, and the contrast then takes each once."""
    batch_users: Count = 1024
    """Users, or interactions, a step."""


class MMSSLConfig(MixedPrecisionConfig):
    """A training run of MMSSL: all parts of METHOD's equations, each with its weight."""

    model: Literal["mmssl"] = "mmssl"
    name: str = "paper"
    """What this configuration is called in results and model cards."""
    features: ProjectedFeatureConfig = ProjectedFeatureConfig()
    backbone: BackboneConfig = BackboneConfig()
    neighbours: NeighbourConfig = NeighbourConfig()
    walks: WalkConfig = WalkConfig()
    ranking: RankingConfig = RankingConfig()
    relations: RelationConfig = RelationConfig()
    contrast: ContrastConfig = ContrastConfig()
    noise_contrast: NoiseContrastConfig = NoiseContrastConfig()
    adversarial: AdversarialConfig = AdversarialConfig()
    reconstruction: ReconstructionConfig = ReconstructionConfig()
    optimiser: MMSSLOptimiserConfig = MMSSLOptimiserConfig()

    @property
    def modalities(self) -> tuple[str, ...] | None:
        """Those to use; None for all that the dataset has."""
        return self.features.modalities

    @property
    def learns_from_features(self) -> bool:
        """Whether F of equation 2 enters the final vectors or any part of the objective."""
        return (
            self.backbone.feature_rate > 0
            or self.adversarial.weight > 0
            or self.reconstruction.weight > 0
            or self.optimiser.feature_l2 > 0
            or self.relations.schedule == "steps"
        )

    @property
    def learns_from_relations(self) -> bool:
        """Whether H of equation 8 enters the final vectors or the objective."""
        return self.backbone.relation_rate > 0 or self.contrast.weight > 0

    @model_validator(mode="after")
    def _rows_have_entries(self) -> "MMSSLConfig":
        adversarial = self.adversarial
        users = min(adversarial.critic_users, self.optimiser.batch_users)
        room = adversarial.critic_items
        if adversarial.real_rows == "observed" and room != "all" and room < users:
            raise ValueError(
                f"adversarial.real_rows=observed: {room} critic_items may leave out what one of"
                f" {users} critic_users has observed; set critic_items={users} or more"
            )
        return self

    @model_validator(mode="after")
    def _noise_has_a_layer(self) -> "MMSSLConfig":
        if self.noise_contrast.weight > 0 and not self.backbone.layers:
            raise ValueError(
                "noise_contrast.weight: backbone.layers=0 leaves no layer to put noise on; set"
                " backbone.layers=1 or more"
            )
        return self

    @model_validator(mode="after")
    def _batches_are_normalised(self) -> "MMSSLConfig":
        adversarial = self.adversarial
        by_interactions = self.optimiser.batches == "interactions"
        if adversarial.weight > 0 and adversarial.critic_batch_norm and by_interactions:
            raise ValueError(
                "adversarial.critic_batch_norm=true does not go with"
                " optimiser.batches=interactions, whose last batch may have one user; set"
                " optimiser.batches=users"
            )
        return self

    @model_validator(mode="after")
    def _can_be_sampled(self) -> "MMSSLConfig":
        if self.backbone.propagation == "sampled":
            for key, value, instead in self._not_sampled():
                raise ValueError(
                    f"backbone.propagation=sampled does not go with {key}={value};"
                    f" set {key}={instead}"
                )
        return self

    def _not_sampled(self) -> Iterable[tuple[str, Any, str]]:
        """Key, value, and what to set in its place.

        The critic's and the schedule's would make a step's cost depend on the catalogue; scrambled
        attention mixes the rows of all users; gradient scaling knows one optimiser a backward pass.
        """
        adversarial = self.adversarial
        if adversarial.weight > 0:
            if adversarial.critic_items == "all":
                yield "adversarial.critic_items", "all", "1024"
            if adversarial.critic_weights == "per_item":
                yield "adversarial.critic_weights", "per_item", "from_vectors"
            if adversarial.critic_hidden == "catalogue":
                yield "adversarial.critic_hidden", "catalogue", "[128, 64]"
        if self.neighbours.item_rate > 0:
            yield "neighbours.item_rate", self.neighbours.item_rate, "0"
        if self.neighbours.user_rate > 0:
            yield "neighbours.user_rate", self.neighbours.user_rate, "0"
        if self.ranking.loss == "softmax":
            yield "ranking.loss", "softmax", "bpr"
        if self.optimiser.embedding_l2_on == "ids":
            yield "optimiser.embedding_l2_on", "ids", "final"
        if self.relations.schedule == "steps":
            yield "relations.schedule", "steps", "epochs"
        if self.backbone.attention == "scrambled":
            yield "backbone.attention", "scrambled", "paper"
        if self.precision == "fp16":
            yield "precision", "fp16", "bf16"
