#!/usr/bin/env python3
"""A benchmark's published JSONL on standard input -> rows for `creamery eval` on standard output.

    python3 convert.py gsm8k < test.jsonl > gsm8k.jsonl

Takes both the files of the authors' releases and what `datasets.Dataset.to_json` writes of the hub's copies.
"""
import json
import sys

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def labelled(record):
    """ARC and OpenBookQA: the question, the choices' texts and the right one's letter."""
    question = record.get("question_stem", record.get("question"))
    choices = record.get("choices")
    if isinstance(question, dict):  # the authors' release: choices within the question, one object each
        question, choices = question["stem"], question["choices"]
    if isinstance(choices, dict):  # the hub: two lists
        choices = [{"text": t, "label": l} for t, l in zip(choices["text"], choices["label"])]
    # Some rows of ARC call their choices 1, 2, 3, 4.
    right = [choice["label"] for choice in choices].index(record["answerKey"])
    return question, [choice["text"] for choice in choices], LETTERS[right]


def siqa(record):
    question = f"{record['context']} {record['question']}"
    return question, [record[f"answer{x}"] for x in "ABC"], LETTERS[int(record["label"]) - 1]


def gsm8k(record):
    # The reasoning before "####" is for training; only the number after it is compared.
    return record["question"], None, record["answer"].rsplit("####", 1)[1].strip()


FORMS = {"arc_easy": labelled, "arc_challenge": labelled, "openbookqa": labelled, "siqa": siqa, "gsm8k": gsm8k}


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in FORMS:
        sys.exit(f"usage: convert.py {'|'.join(FORMS)} < published.jsonl > rows.jsonl")
    task = sys.argv[1]
    for number, line in enumerate(filter(str.strip, sys.stdin)):
        record = json.loads(line)
        question, choices, answer = FORMS[task](record)
        row = {"id": str(record.get("id", f"{task}-{number:05}")), "task": task}
        if choices:
            question += "".join(f"\n{letter}. {text}" for letter, text in zip(LETTERS, choices))
        row["prompt"] = [{"role": "user", "content": question}]
        row["answer"] = answer
        if choices:
            row["choices"] = choices
        print(json.dumps(row, ensure_ascii=False))


if __name__ == "__main__":
    main()
