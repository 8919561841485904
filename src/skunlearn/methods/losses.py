"""The primitives of every method: pure functions on scored tokens.

A *scored token* is one answer token: `logits_NV` holds the N predictions that score them and
`labels_N` the tokens themselves. Prompt and padding never get here, so nothing needs a mask.
`row_N` is the row of each, 0, 1, ..., the tokens of a row side by side. Logs are natural: values
are in nats. Losses are made to be minimised.
"""

import torch
import torch.nn.functional as F


def answer_nll(logits_NV: torch.Tensor, labels_N: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood of the scored tokens: `-1/N sum_n log p(y_n)`.

    Averaged over tokens, not over rows: the L_GD of SKU (arXiv:2402.10058, eq. 2), and L_RD on
    mismatched answers.

    Args:
        logits_NV: (N, V), any float type; the softmax is taken in fp32.
        labels_N: (N,) token ids.

    Returns:
        A scalar of 0 or more, nats per answer token. Lower is more likely.
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
    """KL(p || q), mean over the scored tokens, nats per answer token.

    SKU's preservation divergence (arXiv:2402.10058, eq. 5) is `-kl(base, trained)` on retain
    answers.
    """
    return token_kl(p_logits_NV, q_logits_NV).mean()


def capped(value: torch.Tensor, cap: float) -> torch.Tensor:
    """`min(value, cap)`: past the cap there is no gradient, so a maximised divergence stops growing
    there."""
    return value.clamp(max=cap)


def row_sums(values_N: torch.Tensor, row_N: torch.Tensor) -> torch.Tensor:
    """The sum over each row's tokens, (B,)."""
    rows = int(row_N.max()) + 1
    return values_N.new_zeros(rows).index_add(0, row_N, values_N)


def row_means(values_N: torch.Tensor, row_N: torch.Tensor) -> torch.Tensor:
    """The mean over each row's tokens, (B,)."""
    return row_sums(values_N, row_N) / torch.bincount(row_N)


def token_log_ratio(
    logits_NV: torch.Tensor, base_logits_NV: torch.Tensor, labels_N: torch.Tensor
) -> torch.Tensor:
    """`log p(y_n) - log p_o(y_n)` of each token, (N,): above 0 where it became more likely than for
    the base."""
    return token_nll(base_logits_NV, labels_N) - token_nll(logits_NV, labels_N)


def preference(margin_B: torch.Tensor, beta: float) -> torch.Tensor:
    """`-2/beta mean_b log sigmoid(beta margin_b)`, mean over rows, 0 or more: minimising it raises
    the margins.

    The one loss of DPO (margin: preferred log-ratio minus rejected one; arXiv:2305.18290, with
    NPO's factor 2/beta), NPO (minus the log-ratio of the forget answer; arXiv:2404.05868) and
    SimNPO (its NLL per token less an offset; arXiv:2410.07163). For beta -> 0 it is gradient
    ascent.
    """
    return -2 / beta * F.logsigmoid(beta * margin_B).mean()


def reweighted_ascent(
    logits_NV: torch.Tensor, labels_N: torch.Tensor, saturation: float, importance: float = 0.0
) -> torch.Tensor:
    """`mean_n w_n log p(y_n)` with `w_n = p(y_n)^saturation (1 - p(y_n))^importance` held fixed, 0
    or less.

    Gradient ascent in which tokens that are unlearnt already count less. WGA (arXiv:2502.19301) has
    the first power alone, SatImp (arXiv:2505.11953) both.
    """
    nll_N = token_nll(logits_NV, labels_N)
    p_N = (-nll_N).exp().detach()
    return -(p_N**saturation * (1 - p_N) ** importance * nll_N).mean()


def soft_cross_entropy(target_logits_NV: torch.Tensor, logits_NV: torch.Tensor) -> torch.Tensor:
    """`-mean_n sum_v q_v log p_v`, q = softmax of the targets, held fixed: pulls p to q; 0 or
    more."""
    return F.cross_entropy(logits_NV.float(), target_logits_NV.detach().float().softmax(dim=-1))


def lowered(logits_NV: torch.Tensor, labels_N: torch.Tensor, by: float) -> torch.Tensor:
    """A copy with the label's own logit lower by `by` (inf takes it away): the targets of UNDIAL
    and CE-U."""
    return (
        logits_NV.detach()
        .float()
        .scatter_add(1, labels_N[:, None], logits_NV.new_full((len(labels_N), 1), -by).float())
    )


def position_in_row(row_N: torch.Tensor) -> torch.Tensor:
    """Which token of its row's answer each token is, from 0, (N,)."""
    count_B = torch.bincount(row_N)
    first_B = count_B.cumsum(0) - count_B
    return torch.arange(len(row_N), device=row_N.device) - first_B[row_N]


def logit_margin(logits_NV: torch.Tensor) -> torch.Tensor:
    """`mean_n (max_v z_v - mean_v z_v)^2`: 0 where every token is as likely; PDU's forget loss
    (arXiv:2506.05314)."""
    logits_NV = logits_NV.float()
    return (logits_NV.amax(dim=-1) - logits_NV.mean(dim=-1)).square().mean()


def squared_distance(hidden_ND: torch.Tensor, target_ND: torch.Tensor) -> torch.Tensor:
    """`mean_n mean_d (h - t)^2`, 0 or more: both losses of RMU (arXiv:2403.03218)."""
    return F.mse_loss(hidden_ND.float(), target_ND.float().expand_as(hidden_ND))


def distance(hidden_ND: torch.Tensor, target_ND: torch.Tensor) -> torch.Tensor:
    """`mean_n ||h - t||_2`, 0 or more: the retain loss of representation rerouting
    (arXiv:2406.04313)."""
    return (hidden_ND.float() - target_ND.float()).norm(dim=-1).mean()


def alignment(hidden_ND: torch.Tensor, target_ND: torch.Tensor) -> torch.Tensor:
    """`mean_n relu(cos(h, t))`, 0..1: minimising it turns h away until it stands at right angles to
    t.

    The rerouting loss of circuit breakers (arXiv:2406.04313). At h = t the cosine is at its maximum
    and has no gradient but that of rounding.
    """
    return F.cosine_similarity(hidden_ND.float(), target_ND.float(), dim=-1).relu().mean()
