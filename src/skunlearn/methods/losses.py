"""The primitives of every method: pure functions on scored tokens.

A *scored token* is one token of an answer. `logits_NV` holds the predictions of the N scored tokens
over the V entries of the vocabulary, and `labels_N` the tokens themselves. Prompt tokens and
padding are left out beforehand, so no function needs a mask. `row_N` is the number of the row that
each token belongs to, 0, 1, ..., B - 1; the tokens of a row are next to each other.

Logarithms are natural, so values are in nats. Every loss is made to be minimised. Shape suffixes: B
rows, N scored tokens, V vocabulary, D hidden state.
"""

import torch
import torch.nn.functional as F


def answer_nll(logits_NV: torch.Tensor, labels_N: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood of the scored tokens: `-1/N sum_n log p(y_n)`.

    The mean is over tokens, not over rows. It is L_GD of SKU (arXiv:2402.10058, eq. 2) on forget
    answers, and L_RD (eq. 3) on mismatched ones.

    Args:
        logits_NV: (N, V), any float type; the softmax is taken in fp32.
        labels_N: (N,) token ids.

    Returns:
        A scalar of 0 or more, nats per token. Minimising it makes the answers likelier.
    """
    return F.cross_entropy(logits_NV.float(), labels_N)


def token_nll(logits_NV: torch.Tensor, labels_N: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood of each scored token, (N,), nats."""
    return F.cross_entropy(logits_NV.float(), labels_N, reduction="none")


def token_kl(p_logits_NV: torch.Tensor, q_logits_NV: torch.Tensor) -> torch.Tensor:
    """KL(p || q) at each scored token: `sum_v p_v (log p_v - log q_v)`, (N,), 0 or more, nats."""
    log_p_NV = F.log_softmax(p_logits_NV.float(), dim=-1)
    log_q_NV = F.log_softmax(q_logits_NV.float(), dim=-1)
    return F.kl_div(log_q_NV, log_p_NV, reduction="none", log_target=True).sum(dim=-1)


def kl(p_logits_NV: torch.Tensor, q_logits_NV: torch.Tensor) -> torch.Tensor:
    """KL(p || q), mean over the scored tokens, nats per token.

    The preservation divergence of SKU (arXiv:2402.10058, eq. 5) is `-kl(base, trained)` on retain
    answers.
    """
    return token_kl(p_logits_NV, q_logits_NV).mean()


def capped(value: torch.Tensor, cap: float) -> torch.Tensor:
    """`min(value, cap)`: above the cap there is no gradient.

    It stops the growth of a divergence that is maximised.
    """
    return value.clamp(max=cap)


def row_sums(values_N: torch.Tensor, row_N: torch.Tensor) -> torch.Tensor:
    """The sum over each row's tokens, (B,)."""
    num_rows = int(row_N.max()) + 1
    return values_N.new_zeros(num_rows).index_add(0, row_N, values_N)


def row_means(values_N: torch.Tensor, row_N: torch.Tensor) -> torch.Tensor:
    """The mean over each row's tokens, (B,)."""
    return row_sums(values_N, row_N) / torch.bincount(row_N)


def token_log_ratio(
    logits_NV: torch.Tensor, base_logits_NV: torch.Tensor, labels_N: torch.Tensor
) -> torch.Tensor:
    """`log p(y_n) - log p_o(y_n)` of each scored token, (N,), nats.

    It is above 0 where the token is likelier than for the base model, whose predictions are p_o.
    """
    return token_nll(base_logits_NV, labels_N) - token_nll(logits_NV, labels_N)


def preference(margin_B: torch.Tensor, beta: float) -> torch.Tensor:
    """`-2/beta mean_b log sigmoid(beta margin_b)`, the soft hinge of DPO, NPO and SimNPO.

    The mean is over rows. Minimising it raises the margins, and a row whose margin is large already
    counts less. The margin is

    - for DPO (arXiv:2305.18290, with NPO's factor 2/beta): the log-ratio of the preferred answer
      minus that of the rejected one;
    - for NPO (arXiv:2404.05868): minus the log-ratio of the forget answer;
    - for SimNPO (arXiv:2410.07163): the forget answer's NLL per token, less an offset.

    Args:
        margin_B: (B,), nats.
        beta: above 0. As it goes to 0, the gradient becomes that of gradient ascent.

    Returns:
        A scalar of 0 or more, nats per row.
    """
    return -2 / beta * F.logsigmoid(beta * margin_B).mean()


def reweighted_ascent(
    logits_NV: torch.Tensor, labels_N: torch.Tensor, saturation: float, importance: float = 0.0
) -> torch.Tensor:
    """`mean_n w_n log p(y_n)`: gradient ascent in which each token has a weight.

    The weight w_n = p(y_n)^saturation (1 - p(y_n))^importance is held fixed in the gradient. Tokens
    that are unlikely already, and so unlearnt, count less. WGA (arXiv:2502.19301) has the first
    power alone, SatImp (arXiv:2505.11953) both.

    Args:
        logits_NV: (N, V).
        labels_N: (N,).
        saturation: 0 or more.
        importance: 0 or more.

    Returns:
        A scalar of 0 or less, nats per token. Minimising it makes the answers less likely.
    """
    nll_N = token_nll(logits_NV, labels_N)
    p_N = (-nll_N).exp().detach()
    return -(p_N**saturation * (1 - p_N) ** importance * nll_N).mean()


def soft_cross_entropy(target_logits_NV: torch.Tensor, logits_NV: torch.Tensor) -> torch.Tensor:
    """`-mean_n sum_v q_v log p_v`, cross-entropy to soft targets.

    q is the softmax of the target logits and held fixed. Minimising the loss pulls p to q.

    Returns:
        A scalar of 0 or more, nats per token.
    """
    target_NV = target_logits_NV.detach().float().softmax(dim=-1)
    return F.cross_entropy(logits_NV.float(), target_NV)


def lowered(logits_NV: torch.Tensor, labels_N: torch.Tensor, by: float) -> torch.Tensor:
    """A copy of the logits in which each label's own logit is lower by `by`, (N, V), fp32.

    The targets of UNDIAL (arXiv:2402.10052) and CE-U (arXiv:2503.01224) are the softmax of it.
    Infinity takes the label away altogether. The copy has no gradient.
    """
    change_N1 = logits_NV.new_full((len(labels_N), 1), -by).float()
    return logits_NV.detach().float().scatter_add(1, labels_N[:, None], change_N1)


def position_in_row(row_N: torch.Tensor) -> torch.Tensor:
    """The index of each token within its row's answer, from 0, (N,)."""
    count_B = torch.bincount(row_N)
    first_B = count_B.cumsum(0) - count_B  # index of each row's first token among all N
    return torch.arange(len(row_N), device=row_N.device) - first_B[row_N]


def logit_margin(logits_NV: torch.Tensor) -> torch.Tensor:
    """`mean_n (max_v z_v - mean_v z_v)^2`, the forget loss of PDU (arXiv:2506.05314).

    Minimising it flattens the logits z. It is 0 where every token is equally likely.
    """
    logits_NV = logits_NV.float()
    return (logits_NV.amax(dim=-1) - logits_NV.mean(dim=-1)).square().mean()


def squared_distance(hidden_ND: torch.Tensor, target_ND: torch.Tensor) -> torch.Tensor:
    """`mean_n mean_d (h - t)^2`, both losses of RMU (arXiv:2403.03218).

    Args:
        hidden_ND: hidden states h.
        target_ND: targets t, (N, D) or one for all tokens, (D,).

    Returns:
        A scalar of 0 or more. Minimising it moves h to t.
    """
    return F.mse_loss(hidden_ND.float(), target_ND.float().expand_as(hidden_ND))


def distance(hidden_ND: torch.Tensor, target_ND: torch.Tensor) -> torch.Tensor:
    """`mean_n ||h - t||_2`, the retain loss of circuit breakers (arXiv:2406.04313).

    Returns:
        A scalar of 0 or more. Minimising it moves h to t.
    """
    return (hidden_ND.float() - target_ND.float()).norm(dim=-1).mean()


def alignment(hidden_ND: torch.Tensor, target_ND: torch.Tensor) -> torch.Tensor:
    """`mean_n relu(cos(h, t))`, the rerouting loss of circuit breakers (arXiv:2406.04313).

    Minimising it turns h away until it is at a right angle to t. At h = t the cosine is at its
    maximum: its gradient is 0 but for rounding.

    Returns:
        A scalar, 0..1.
    """
    return F.cosine_similarity(hidden_ND.float(), target_ND.float(), dim=-1).relu().mean()
