#!/usr/bin/env python3
"""A verifier for the embedded world: solves each task itself and compares.

Reads JSON lines like {"messages": [{"role": "user", "content": "sort 9293"}, {"role": "assistant", "content": "2399"}]}
and writes {"text": "1"} for each right answer, {"text": "0"} for each wrong one. What it cannot solve it says, so that
the judge abstains.
"""

import json
import sys


def solve(question):
    task, _, rest = question.partition(" ")
    words = rest.split()
    if task == "add":
        return str(sum(int(word) for word in words))
    if task == "reverse":
        return rest[::-1]
    if task == "sort":
        return "".join(sorted(rest))
    if task == "count":
        letter, _, word = words
        return str(word.count(letter))
    if task == "largest":
        return max(words, key=int)
    raise ValueError(f"no task: {question!r}")


def judge(line):
    messages = json.loads(line)["messages"]
    said = {message["role"]: message["content"] for message in messages}
    try:
        return "1" if said["assistant"].strip() == solve(said["user"]) else "0"
    except (KeyError, ValueError) as error:
        return f"cannot be verified: {error}"


for line in sys.stdin:
    print(json.dumps({"text": judge(line)}), flush=True)
