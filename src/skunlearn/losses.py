"""The primitives of every method: pure functions on scored tokens.

A *scored token* is one answer token: `logits_NV` holds the N predictions that score them and `labels_N` the tokens
themselves. Prompt and padding never get here, so nothing needs a mask. All values are in nats.
"""

import torch
import torch.nn.functional as F


def answer_nll(logits_NV: torch.Tensor, labels_N: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood of the scored tokens: `-1/N sum_n log p(y_n)`.

    Averaged over tokens, not over rows: the L_GD of SKU (arXiv:2402.10058, eq. 2), and L_RD on mismatched answers.

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

    SKU's preservation divergence (arXiv:2402.10058, eq. 5) is `-kl(base, trained)` on retain answers.
    """
    return token_kl(p_logits_NV, q_logits_NV).mean()


def capped(value: torch.Tensor, cap: float) -> torch.Tensor:
    """`min(value, cap)`: past the cap there is no gradient, so a maximised divergence stops growing there."""
    return value.clamp(max=cap)
