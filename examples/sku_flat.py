"""SKU (Liu et al., arXiv:2402.10058) from the first line to the last, in plain torch and
transformers.

    python examples/sku_flat.py MODEL forget.jsonl retain.jsonl OUT --steps 1000

For the reader of the paper: losses, weights and strength are the published ones, all weights are
trained, and nothing is measured. Both files have one {"prompt": ..., "answer": ...} a line. The
library does the same with LoRA, resuming, a chosen strength, a judge and gates: `skunlearn run`.

    stage 1   theta_bad = argmin  2.5 L_GD + 2.5 L_RD + 1 L_PD
    stage 2   theta_u   = theta_o - alpha (theta_bad - theta_o)
"""

import argparse
import copy
import json
import random

import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, AutoTokenizer


def read(path):
    with open(path, encoding="utf-8") as file:
        return [(row["prompt"], row["answer"]) for row in map(json.loads, file)]


def encode(tokenizer, prompt, answer, max_length=256):
    """Prompt and answer are tokenised apart, so that it is certain where the answer begins."""
    if tokenizer.chat_template:
        turn = [{"role": "user", "content": prompt}]
        asked = tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
        prompt_ids = tokenizer(asked, add_special_tokens=False).input_ids
    else:
        prompt_ids = tokenizer(f"Question: {prompt}\nAnswer:").input_ids
        answer = (
            " " + answer
        )  # the space belongs to the answer: it is in the first token that the model would write
    answer_ids = [*tokenizer(answer, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
    if len(prompt_ids) >= max_length:
        raise SystemExit(
            f"a prompt of {len(prompt_ids)} tokens leaves no room for its answer: raise max_length"
        )
    return prompt_ids, answer_ids[: max_length - len(prompt_ids)]


def scored(model, rows):
    """(N, V) predictions of the N answer tokens of some rows, and the tokens; prompt and padding
    are in neither."""
    width = max(len(prompt) + len(answer) for prompt, answer in rows)
    ids_BT = torch.zeros(len(rows), width, dtype=torch.long)
    mask_BT = torch.zeros_like(ids_BT)
    is_answer_BT = torch.zeros(len(rows), width, dtype=torch.bool)
    for number, (prompt, answer) in enumerate(rows):
        end = len(prompt) + len(answer)
        ids_BT[number, :end] = torch.tensor(prompt + answer)
        mask_BT[number, :end] = 1
        is_answer_BT[number, len(prompt) : end] = True
    ids_BT, mask_BT, is_answer_BT = (
        tensor.to(model.device) for tensor in (ids_BT, mask_BT, is_answer_BT)
    )
    logits_BTV = model(input_ids=ids_BT, attention_mask=mask_BT).logits
    after_first_BT = is_answer_BT[:, 1:]  # position t predicts token t + 1
    return logits_BTV[:, :-1][after_first_BT].float(), ids_BT[:, 1:][after_first_BT]


def guided_distortion(model, rows):
    """L_GD (eq. 2): learn the harmful answers. Nats per answer token."""
    return F.cross_entropy(*scored(model, rows))


def random_disassociation(model, tokenizer, asked, forget, count, draw):
    """L_RD (eq. 3): learn answers of other harmful prompts, drawn for each row apart, never its
    own."""
    rows = []
    for prompt, _ in asked:
        others = [answer for other, answer in forget if other != prompt]
        rows += [
            encode(tokenizer, prompt, answer)
            for answer in draw.sample(others, min(count, len(others)))
        ]
    return F.cross_entropy(*scored(model, rows))


def preservation_divergence(model, base, rows):
    """L_PD (eq. 5): minus KL(base || model) on ordinary answers; minimised, so the copy walks away
    from the base there.

    It has no lower bound. docs/paper.md says why the library's default has the other sign.
    """
    with torch.no_grad():
        log_p_NV = F.log_softmax(scored(base, rows)[0], dim=-1)
    log_q_NV = F.log_softmax(scored(model, rows)[0], dim=-1)
    return -F.kl_div(log_q_NV, log_p_NV, reduction="batchmean", log_target=True)


def learn_harm(base, tokenizer, forget, retain, args):
    """Stage 1: theta_bad, a copy trained to be worse."""
    bad = copy.deepcopy(base).train()
    optimiser = torch.optim.AdamW(bad.parameters(), lr=args.lr)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, total_iters=args.steps)
    draw = random.Random(args.seed)
    for step in range(args.steps):
        asked = draw.sample(forget, min(args.batch, len(forget)))
        kept = [
            encode(tokenizer, *pair) for pair in draw.sample(retain, min(args.batch, len(retain)))
        ]
        gd = guided_distortion(bad, [encode(tokenizer, *pair) for pair in asked])
        rd = random_disassociation(bad, tokenizer, asked, forget, args.mismatched, draw)
        pd = preservation_divergence(bad, base, kept)
        loss = 2.5 * gd + 2.5 * rd + 1.0 * pd
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        print(f"step {step + 1}: gd {gd:.3f}  rd {rd:.3f}  pd {pd:.3f}")
    return bad.eval()


@torch.no_grad()
def negate(base, bad, alpha):
    """Stage 2: theta_o - alpha (theta_bad - theta_o), in the place of the base."""
    for theta, theta_bad in zip(base.parameters(), bad.parameters(), strict=True):
        theta.sub_(alpha * (theta_bad - theta))


def main(argv=None):
    parser = argparse.ArgumentParser(
        description="SKU as published; harmful material: keep forget.jsonl to yourself."
    )
    for name in ("model", "forget", "retain", "out"):
        parser.add_argument(name)
    for name, value in (
        ("steps", 1000),
        ("batch", 2),
        ("lr", 2e-4),
        ("mismatched", 5),
        ("alpha", 1.0),
        ("seed", 0),
    ):
        parser.add_argument(f"--{name}", type=type(value), default=value)
    args = parser.parse_args(argv)
    torch.manual_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    base = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    bad = learn_harm(base, tokenizer, read(args.forget), read(args.retain), args)
    negate(base, bad, args.alpha)
    base.save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)


if __name__ == "__main__":
    main()
