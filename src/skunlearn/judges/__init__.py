"""Judges: from prompts and answers to verdicts with evidence, and the table of their names."""

JUDGES = {
    "offline": "skunlearn.judges.offline:OfflineJudge",
}
