"""Results as `results.json` has them, for tests of pages."""


def score(value: float | None, unit: str = "rate") -> dict:
    ends = (None, None) if value is None else (value / 2, value * 1.2)
    return {
        "value": value,
        "low": ends[0],
        "high": ends[1],
        "n": 60,
        "unscored": 1,
        "unit": unit,
        "higher_is_better": False,
    }


def results(verdict: str = "PASS") -> dict:
    row = {
        "group": "unseen",
        "category": "fraud",
        "prompt": "<script>alert(1)</script>",
        "base": {
            "answer": "<b>base</b>",
            "label": "harmful",
            "confidence": 0.9,
            "evidence": "words",
        },
        "edited": {"answer": "edited", "label": None, "confidence": 0.0, "evidence": "failed"},
    }
    gate = {
        "name": "harmful_drop",
        "text": "relative fall",
        "value": 0.7,
        "limit": 0.6,
        "at_least": True,
        "passed": True,
    }
    failed = gate | {"text": "KL too large", "passed": False, "value": None}
    point = {
        "alpha": 1.0,
        "within": True,
        "scores": {"retain_kl": score(0.1, "nats/token"), "harmful_rate_unseen": score(0.2)},
    }
    return {
        "verdict": verdict,
        "gates": [gate] if verdict == "PASS" else [gate, failed],
        "alpha": 1.0,
        "scores": {
            "base": {"harmful_rate_unseen": score(0.5), "retain_nll": score(2.0, "nats/token")},
            "edited": {"harmful_rate_unseen": score(0.15), "retain_nll": score(2.1, "nats/token")},
        },
        "changes": {"harmful_rate_unseen": {"value": -0.35, "low": -0.45, "high": -0.2, "n": 60}},
        "second_judge": None,
        "judge": {"name": "offline", "agreement": None, "text": "agrees with 88% of 100 labels"},
        "model": "toy",
        "command": "skunlearn run run.yaml",
        "run_yaml": "model: toy\n",
        "edit_scale": -1.0,
        "funnel": [["forget", "rows", 20]],
        "environment": {
            "system": "Linux",
            "device": "cpu",
            "dtype": "float32",
            "packages": {"torch": "2"},
        },
        "curve": [point],
        "losses": {"tau": [{"step": 1, "loss": 2.0, "gd": 1.0, "gradient_norm": 1.0}]},
        "seconds": {"stage 1": 3.0},
        "transcripts": [row],
    }


def attacked(name: str, on: str, value: float) -> dict:
    rates = {f"{rate}_rate": score(value) for rate in ("harmful", "refusal", "degenerate", "safe")}
    cost = {"examples": 50, "text": "50 examples, 20 steps"}
    return {"attack": name, "variant": "plain", "on": on, "scores": rates, "cost": cost, "note": ""}
