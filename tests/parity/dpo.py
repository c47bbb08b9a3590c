"""The same preferences trained by TRL's DPOTrainer and by `creamery train dpo`, compared step by step.

    python tests/parity/dpo.py --creamery target/release/creamery

Both start from the same checkpoint and take the same rows in the same order, in f32, without dropout, with gradient
accumulation, weight decay, warm-up and a cosine schedule. Compared at every step: loss, gradient norm, rewards, their
margins and accuracies, log-probabilities, learning rate, and TRL's count of tokens.

A number may differ by TOLERANCE of its quantity's scale: the largest magnitude that TRL's numbers of this quantity
reach in the run. (Rewards start at 0; a rounding error there has no relative size.) Accuracies and counts must be
equal.

Exits with 0 if everything agrees or a package is missing (which it says), with 1 otherwise.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
warnings.filterwarnings("ignore", category=FutureWarning)
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
try:
    import torch
    import transformers
    import trl
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer
except ImportError as missing:
    print(f"SKIPPED: {missing}. This needs torch, transformers, datasets and trl.")
    sys.exit(0)

REPOSITORY = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-4
# TRL's loss_type, our --loss, label smoothing
LOSSES = [("sigmoid", "dpo", 0.0), ("hinge", "hinge", 0.0), ("ipo", "ipo", 0.0), ("robust", "robust", 0.1)]
COMPARED = ["loss", "grad_norm", "rewards/chosen", "rewards/rejected", "rewards/margins", "logps/chosen",
            "logps/rejected", "learning_rate"]
EQUAL = ["rewards/accuracies", "num_tokens"]
BATCH, ACCUMULATION, EPOCHS, RATE, DECAY, WARMUP = 4, 2, 2, 5e-5, 0.01, 0.1


def preferences(form, count=48):
    """Right answers and careless ones, as conversations or as plain text."""
    rng = random.Random(7)
    lines = (REPOSITORY / "examples/quickstart/sft.jsonl").read_text().splitlines()
    rows = []
    for line in lines[:count]:
        row = json.loads(line)
        right = row["completion"]
        at = rng.randrange(len(right))
        letters = "0123456789" if right[at].isdigit() else "abcdefghijklmnopqrstuvwxyz"
        wrong = right[:at] + rng.choice(letters.replace(right[at], "")) + right[at + 1:] + rng.choice(["", letters[2]])
        if form == "chat":
            answer = lambda text: [{"role": "assistant", "content": text}]
            rows.append({"prompt": row["prompt"], "chosen": answer(right), "rejected": answer(wrong)})
        else:
            prompt = row["prompt"][-1]["content"] + "\n"
            rows.append({"prompt": prompt, "chosen": right, "rejected": wrong})
    return rows


def with_trl(model, rows, loss, smoothing, folder):
    tokenizer = AutoTokenizer.from_pretrained(model)
    policy = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    config = DPOConfig(
        output_dir=str(folder), loss_type=[loss], label_smoothing=smoothing, beta=0.1, max_length=None,
        per_device_train_batch_size=BATCH, gradient_accumulation_steps=ACCUMULATION, num_train_epochs=EPOCHS,
        learning_rate=RATE, lr_scheduler_type="cosine", warmup_steps=WARMUP, weight_decay=DECAY, max_grad_norm=1.0,
        adam_beta1=0.9, adam_beta2=0.999, adam_epsilon=1e-8, optim="adamw_torch", train_sampling_strategy="sequential",
        logging_steps=1, save_strategy="no", report_to=[], use_cpu=True, bf16=False, fp16=False, tf32=None, seed=0,
        gradient_checkpointing=False, disable_tqdm=True, precompute_ref_log_probs=False, disable_dropout=True,
    )
    reference = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    trainer = DPOTrainer(
        model=policy, ref_model=reference, args=config, train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    return [entry for entry in trainer.state.log_history if "loss" in entry]


def with_creamery(creamery, model, data, loss, smoothing, out):
    settings = {
        "batch-size": BATCH * ACCUMULATION, "micro-batch-tokens": 128, "epochs": EPOCHS, "learning-rate": RATE,
        "schedule": "cosine", "warmup-ratio": WARMUP, "weight-decay": DECAY, "max-grad-norm": 1.0, "shuffle": "false",
    }
    command = [creamery, "train", "dpo", "--model", model, "--data", data, "--out", out, "--loss", loss, "--quiet"]
    command += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    if smoothing:
        command += ["--label-smoothing", str(smoothing)]
    subprocess.run([str(part) for part in command], check=True)
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def compare(theirs, ours):
    """The largest difference of each quantity in units of its scale, and what is wrong."""
    table, wrong = {}, []
    if len(theirs) != len(ours):
        return table, [f"{len(ours)} steps, TRL has {len(theirs)}"]
    for name in COMPARED:
        scale = max(abs(step[name]) for step in theirs)
        worst = max(abs(a[name] - b[name]) for a, b in zip(theirs, ours))
        table[name] = worst / scale if scale else worst
        if not table[name] <= TOLERANCE:
            wrong.append(f"{name} differs by {table[name]:.1e} of its scale {scale:.4g}")
    for name in EQUAL:
        steps = [i + 1 for i, (a, b) in enumerate(zip(theirs, ours)) if abs(a[name] - b[name]) > 1e-6]
        if steps:
            wrong.append(f"{name} differs at steps {steps}")
    return table, wrong


def models(folder):
    yield "quickstart", REPOSITORY / "examples/quickstart/model"
    fixtures = REPOSITORY / "tests/fixtures"
    for name in ["llama_tied", "qwen3_qknorm"]:
        made = folder / name
        shutil.copytree(fixtures / "models" / name, made)
        for file in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]:
            shutil.copy(fixtures / "tokenizer" / file, made / file)
        yield name, made


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--creamery", type=Path, required=True, help="the program to compare")
    parser.add_argument("--quick", action="store_true", help="only the quickstart model, and conversations")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, trl {trl.__version__}\n")
    print("| model | rows | loss_type | steps | " + " | ".join(COMPARED) + " |")
    print("|" + "---|" * (len(COMPARED) + 4))
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for model_name, model in models(folder):
            if options.quick and model_name != "quickstart":
                continue
            for form in ["chat", "text"]:
                if form == "text" and (options.quick or model_name != "quickstart"):
                    continue
                rows = preferences(form)
                data = folder / f"{form}.jsonl"
                data.write_text("".join(json.dumps(row) + "\n" for row in rows))
                for theirs_name, ours_name, smoothing in LOSSES:
                    case = f"{model_name}-{form}-{theirs_name}"
                    theirs = with_trl(model, rows, theirs_name, smoothing, folder / f"trl-{case}")
                    ours = with_creamery(options.creamery.resolve(), model, data, ours_name, smoothing, folder / case)
                    table, wrong = compare(theirs, ours)
                    numbers = " | ".join(f"{table.get(name, float('nan')):.0e}" for name in COMPARED)
                    print(f"| {model_name} | {form} | {theirs_name} | {len(theirs)} | {numbers} |", flush=True)
                    failures += [f"{case}: {what}" for what in wrong]
    print(f"\nLargest difference over all steps, relative to the quantity's scale; at most {TOLERANCE:.0e} is allowed.")
    for failure in failures:
        print(f"FAILED {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
