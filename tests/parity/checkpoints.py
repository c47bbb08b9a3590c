"""Parity with transformers: the same log-probabilities from the same folders, in both directions.

    cargo build --release --bin creamery
    python tests/parity/checkpoints.py [--creamery target/release/creamery] [--only PART] [--keep DIR]

Needs torch and transformers, and says so and ends with 0 where they are missing. Every model is tiny and random.

    read      folders that transformers writes: each family, tied and untied, f32, f16 and bf16, whole and in shards,
              every form of rope parameters, windows, biases, absent keys
    write     folders that `creamery convert` writes: weights bit for bit, configuration, tokenizer, chat template,
              generation configuration
    generate  greedy tokens of `creamery generate`
    adapters  PEFT adapters, both ways (needs peft)

Log-probabilities are compared in f32; the difference is relative to the largest |log-probability| of a case.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

try:
    import torch
    import transformers
except ImportError as error:
    print(f"SKIPPED: parity with transformers needs torch and transformers ({error})")
    sys.exit(0)

TOLERANCE = 1e-4
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
TOKENIZER = REPOSITORY / "tests/fixtures/tokenizer"
VOCABULARY = 320
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
CONFIGS = {
    "llama": transformers.LlamaConfig,
    "mistral": transformers.MistralConfig,
    "qwen2": transformers.Qwen2Config,
    "qwen3": transformers.Qwen3Config,
}
SIZES = dict(
    vocab_size=VOCABULARY, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=256, eos_token_id=6, bos_token_id=1, pad_token_id=None,
)
ROPES = {
    "default": {"rope_type": "default", "rope_theta": 500.0},
    "linear": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0},
    "llama3": {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
               "high_freq_factor": 4.0, "original_max_position_embeddings": 32},
    "yarn": {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64},
    "yarn, all fields": {"rope_type": "yarn", "rope_theta": 1000.0, "factor": 8.0, "beta_fast": 16.0, "beta_slow": 2.0,
                         "mscale": 0.7, "mscale_all_dim": 0.4, "truncate": False,
                         "original_max_position_embeddings": 32},
    "yarn, attention factor": {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 2.0, "attention_factor": 1.3,
                               "original_max_position_embeddings": 128},
}


class Results:
    """What was compared: a row for each group of cases, with its worst difference."""

    def __init__(self):
        self.groups, self.failures = {}, []

    def add(self, group, case, difference, what="", tolerance=TOLERANCE):
        cases, worst = self.groups.get(group, (0, 0.0))
        self.groups[group] = (cases + 1, max(worst, difference))
        if not difference <= tolerance:
            self.failures.append(f"{group}: {case}: {difference:.2e} {what}")

    def fail(self, group, case, what):
        self.add(group, case, float("inf"), what)

    def table(self):
        width = max(map(len, self.groups), default=0)
        print(f"{'what':{width}}  cases  largest relative difference")
        for name, (cases, worst) in self.groups.items():
            print(f"{name:{width}}  {cases:5}  {'equal' if worst == 0 else f'{worst:.1e}'}")


def creamery(*arguments, check=True):
    done = subprocess.run([str(BINARY), *map(str, arguments)], capture_output=True, text=True)
    if check and done.returncode != 0:
        raise RuntimeError(f"creamery {' '.join(map(str, arguments))}: exit code {done.returncode}\n{done.stderr}")
    return done


def has_command(name):
    return creamery(name, "--help", check=False).returncode == 0


def rows(seed, count=5):
    """Token ids and where the response starts; the lengths differ, one is longer than every window."""
    generator = torch.Generator().manual_seed(seed)
    lengths = [2, 7, 23, 60, 130][:count]
    return [(torch.randint(7, VOCABULARY, (n,), generator=generator).tolist(), 1 + n // 3) for n in lengths]


def peer_logps(model, data):
    found = []
    for ids, start in data:
        with torch.no_grad():
            logps = model(torch.tensor([ids])).logits[0].float().log_softmax(-1)
        found.append([logps[t - 1, ids[t]].item() for t in range(start, len(ids))])
    return found


def our_logps(folder, data, work, *more):
    path = work / "rows.jsonl"
    path.write_text("".join(json.dumps({"input_ids": i, "response_start": s}) + "\n" for i, s in data))
    lines = creamery("logps", "--model", folder, "--rows", path, *more).stdout.splitlines()
    return [json.loads(line)["token_logps"] for line in lines]


def difference(ours, theirs):
    assert [len(row) for row in ours] == [len(row) for row in theirs]
    ours, theirs = (torch.tensor([x for row in logps for x in row], dtype=torch.float64) for logps in (ours, theirs))
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def load(folder, dtype=torch.float32):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager")
    return model.eval()


def new_model(family, seed, **more):
    torch.manual_seed(seed)
    config = CONFIGS[family](**{**SIZES, "head_dim": 16, "initializer_range": 0.15, **more})
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    for name, parameter in model.named_parameters():
        # Norms and biases of a new model are 1 and 0, which hides mistakes.
        if parameter.dim() == 1:
            parameter.data += 0.2 * torch.randn_like(parameter)
    return model.eval()


def edit(folder, change):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config, indent=2))


def old_rope_keys(name_of_type):
    """config.json as it was before transformers 5: rope_theta beside rope_scaling."""

    def change(config):
        parameters = config.pop("rope_parameters")
        config["rope_theta"] = parameters.pop("rope_theta")
        kind = parameters.pop("rope_type")
        config["rope_scaling"] = None if kind == "default" else {name_of_type: kind, **parameters}
        config["torch_dtype"] = config.pop("dtype", "float32")

    return change


def read_cases():
    """Group, case, family, configuration, dtype, shard size, change of config.json."""
    for family in CONFIGS:
        for tied in (True, False):
            for dtype in DTYPES:
                for shards in (None, "60KB"):
                    case = f"{'tied' if tied else 'untied'} {dtype} {'shards' if shards else 'one file'}"
                    yield f"read {family}", case, family, {"tie_word_embeddings": tied}, dtype, shards, None
    for name, rope in ROPES.items():
        for keys, change in (("new", None), ("old, type", old_rope_keys("type")),
                             ("old, rope_type", old_rope_keys("rope_type"))):
            for family in ("llama", "qwen3"):
                yield f"rope {name}", f"{family}, {keys} keys", family, {"rope_parameters": rope}, "f32", None, change
    more = {
        "llama: all biases": ("llama", {"attention_bias": True, "mlp_bias": True}, None),
        "llama: no head_dim": ("llama", {"head_dim": None}, lambda c: c.pop("head_dim")),
        "llama: kv heads null": ("llama", {"num_key_value_heads": None}, lambda c: c.update(num_key_value_heads=None)),
        "mistral: window": ("mistral", {"sliding_window": 16}, None),
        "mistral: window null": ("mistral", {"sliding_window": None}, lambda c: c.update(sliding_window=None)),
        "mistral: wide heads": ("mistral", {"head_dim": 32}, None),
        "qwen2: window, all layers": ("qwen2", {"use_sliding_window": True, "sliding_window": 16,
                                                "max_window_layers": 0}, lambda c: c.pop("layer_types")),
        "qwen2: window, some layers": ("qwen2", {"use_sliding_window": True, "sliding_window": 16,
                                                 "max_window_layers": 1}, lambda c: c.pop("layer_types")),
        "qwen2: window set, not used": ("qwen2", {"use_sliding_window": False, "sliding_window": 4}, None),
        "qwen3: biases": ("qwen3", {"attention_bias": True}, None),
        "qwen3: layer types": ("qwen3", {"use_sliding_window": True, "sliding_window": 8,
                                         "layer_types": ["full_attention", "sliding_attention", "full_attention"]},
                               None),
        "rms_norm_eps": ("llama", {"rms_norm_eps": 1e-2}, None),
    }
    for case, (family, config, change) in more.items():
        yield "options", case, family, config, "f32", None, change
    # Everything that may be absent is; both sides must assume the same.
    kept = {"model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"}
    heads = {"llama": (4, 4), "mistral": (8, 8), "qwen2": (32, 32), "qwen3": (32, 32)}
    for family, (count, groups) in heads.items():
        config = {"num_attention_heads": count, "num_key_value_heads": groups, "hidden_size": 128,
                  "head_dim": 128 if family == "qwen3" else 128 // count}
        change = lambda c: [c.pop(key) for key in list(c) if key not in kept]
        yield "absent keys", family, family, config, "f32", None, change


def check_reading(results, work):
    for seed, (group, case, family, config, dtype, shards, change) in enumerate(read_cases()):
        folder = work / f"read-{seed}"
        model = new_model(family, seed, **config).to(DTYPES[dtype])
        model.save_pretrained(folder, **({"max_shard_size": shards} if shards else {}))
        if (folder / "model.safetensors.index.json").exists() != bool(shards):
            results.fail(group, case, "the folder does not have the form that was meant")
        if change:
            edit(folder, change)
        data = rows(seed)
        try:
            results.add(group, case, difference(our_logps(folder, data, work), peer_logps(load(folder), data)))
        except RuntimeError as error:
            results.fail(group, case, str(error))
        shutil.rmtree(folder)


def add_tokenizer(folder):
    for file in TOKENIZER.iterdir():
        if file.name != "expected.json":
            shutil.copy(file, folder / file.name)
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates/tool_use.jinja").write_text("{{ messages | length }} tools")


def write_cases():
    for family in CONFIGS:
        for tied in (True, False):
            for dtype in DTYPES:
                for size in ("5GB", "60KB"):
                    yield family, tied, dtype, size


GENERATION = {
    "one eos, no pad": {"eos_token_id": 6, "pad_token_id": None},
    "several eos": {"eos_token_id": [6, 2], "pad_token_id": 0, "temperature": 0.7, "do_sample": True},
    "pad = eos": {"eos_token_id": 6, "pad_token_id": 6},
}


def check_writing(results, work):
    messages = [{"role": "user", "content": "Grüße, 1 + 1?"}]
    for seed, (family, tied, dtype, size) in enumerate(write_cases()):
        case = f"{'tied' if tied else 'untied'} {dtype} {size}"
        group = f"write {family}"
        source, target = work / f"source-{seed}", work / f"target-{seed}"
        model = new_model(family, seed, tie_word_embeddings=tied)
        model.save_pretrained(source)
        if seed % 2:
            edit(source, old_rope_keys("rope_type"))
        add_tokenizer(source)
        kind = list(GENERATION)[seed % len(GENERATION)]
        transformers.GenerationConfig(**GENERATION[kind]).save_pretrained(source)
        try:
            creamery("convert", "--model", source, "--out", target, "--dtype", dtype, "--max-shard-size", size)
        except RuntimeError as error:
            results.fail(group, case, str(error))
            continue
        theirs = {name: tensor.to(DTYPES[dtype]) for name, tensor in model.state_dict().items()}
        model.load_state_dict(theirs)
        # `auto` takes the type from config.json: it must be what was written.
        found = transformers.AutoModelForCausalLM.from_pretrained(target, dtype="auto", attn_implementation="eager")
        ours = found.state_dict()
        same = found.dtype == DTYPES[dtype] and ours.keys() == theirs.keys() and all(
            torch.equal(ours[name], theirs[name]) for name in theirs
        )
        data = rows(seed)
        expected = peer_logps(model, data)
        worst = difference(peer_logps(load(target), data), expected)
        results.add(group, case, worst if same else float("inf"), "the weights differ", tolerance=0.0)
        sharded = (target / "model.safetensors.index.json").exists()
        results.add("write: shards", case, 0.0 if sharded == (size != "5GB") else float("inf"))
        before, after = (transformers.AutoConfig.from_pretrained(f).to_dict() for f in (source, target))
        for config in (before, after):
            config.pop("dtype", None), config.pop("_name_or_path", None)
        results.add("write: configuration", case, 0.0 if before == after else float("inf"))
        before, after = (transformers.GenerationConfig.from_pretrained(f).to_dict() for f in (source, target))
        results.add("write: generation configuration", kind, 0.0 if before == after else float("inf"))
        before, after = (transformers.AutoTokenizer.from_pretrained(f) for f in (source, target))
        text = "Übung macht 123 🚀 <|end|>"
        chats = [t.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) for t in (before, after)]
        equal = (
            before(text)["input_ids"] == after(text)["input_ids"]
            and chats[0] == chats[1]
            and before.special_tokens_map == after.special_tokens_map
            and before.chat_template == after.chat_template
        )
        results.add("write: tokenizer and templates", case, 0.0 if equal else float("inf"))
        results.add("write, then read", case, difference(our_logps(target, data, work), expected))
        shutil.rmtree(source), shutil.rmtree(target)


def check_generation(results, work):
    if not has_command("generate"):
        print("SKIPPED: this creamery has no command `generate`")
        return
    for seed, family in enumerate(CONFIGS):
        folder = work / f"generate-{seed}"
        new_model(family, seed).save_pretrained(folder)
        add_tokenizer(folder)
        # AutoTokenizer puts Qwen's own splitting in place of what a tokenizer.json of another kind says.
        tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
        chats = [[{"role": "user", "content": text}] for text in ("1 + 1?", "Write a word.", "ok")]
        path = work / "prompts.jsonl"
        path.write_text("".join(json.dumps({"prompt": chat}) + "\n" for chat in chats))
        arguments = ("generate", "--model", folder, "--prompts", path, "--greedy", "--max-new-tokens", 24)
        try:
            lines = [json.loads(line) for line in creamery(*arguments).stdout.splitlines()]
        except RuntimeError as error:
            results.fail("generate, greedy", family, str(error))
            continue
        model = load(folder)
        for chat, line in zip(chats, lines, strict=True):
            prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt",
                                                   return_dict=True)["input_ids"]
            with torch.no_grad():
                done = model.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=False,
                                      max_new_tokens=24, eos_token_id=6, pad_token_id=0)
            expected, response = done[0, prompt.shape[1]:].tolist(), line["responses"][0]
            same = prompt[0].tolist() == line["prompt_ids"] and expected == response["ids"]
            results.add("generate, greedy", family, 0.0 if same else float("inf"), f"{expected} {response['ids']}")
            data = [(prompt[0].tolist() + response["ids"], prompt.shape[1])]
            worst = difference([response["logps"]], peer_logps(model, data))
            results.add("generate, log-probabilities", family, worst)
        shutil.rmtree(folder)


ADAPTERS = {
    "all-linear": dict(r=4, lora_alpha=8, target_modules="all-linear"),
    "q and v": dict(r=3, lora_alpha=7, target_modules=["q_proj", "v_proj"], lora_dropout=0.1),
    "rslora": dict(r=6, lora_alpha=5, target_modules=["o_proj", "down_proj"], use_rslora=True),
    "some layers": dict(r=2, lora_alpha=2, target_modules=["up_proj"], layers_to_transform=[1]),
    "rank and alpha patterns": dict(r=4, lora_alpha=4, target_modules=["q_proj", "k_proj"],
                                    rank_pattern={"k_proj": 2}, alpha_pattern={"q_proj": 16}),
}


def check_adapters(results, work):
    try:
        import peft
    except ImportError as error:
        print(f"SKIPPED: adapters need peft ({error})")
        return
    if not has_command("merge"):
        print("SKIPPED: this creamery has no command `merge`")
        return
    for seed, (family, (name, settings)) in enumerate((f, a) for f in CONFIGS for a in ADAPTERS.items()):
        base, adapter, merged = (work / f"{kind}-{seed}" for kind in ("base", "adapter", "merged"))
        model = new_model(family, seed, tie_word_embeddings=bool(seed % 2))
        model.save_pretrained(base)
        tuned = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **settings)).eval()
        for parameter_name, parameter in tuned.named_parameters():
            # A new adapter changes nothing: B is 0.
            if "lora_B" in parameter_name:
                parameter.data = 0.1 * torch.randn_like(parameter)
        tuned.save_pretrained(adapter)
        data = rows(seed)
        expected = peer_logps(tuned, data)
        case = f"{family}, {name}"
        try:
            ours = our_logps(base, data, work, "--adapter", adapter)
            results.add("adapters that peft wrote", case, difference(ours, expected))
            creamery("merge", "--model", base, "--adapter", adapter, "--out", merged)
            results.add("merged, read by transformers", case, difference(peer_logps(load(merged), data), expected))
        except RuntimeError as error:
            results.fail("adapters that peft wrote", case, str(error))
        if has_command("train"):
            check_trained_adapter(results, work, peft, seed, case, base, data)
        for folder in (base, adapter, merged):
            shutil.rmtree(folder, ignore_errors=True)


def check_trained_adapter(results, work, peft, seed, case, base, data):
    """An adapter that `creamery train` writes, read by peft."""
    targets = ["all-linear", ["q_proj", "v_proj"], ["o_proj", "down_proj"], ["up_proj"], ["k_proj"]][seed % 5]
    pairs, trained = work / "pairs.jsonl", work / f"trained-{seed}"
    lines = [{"prompt_ids": ids[:start], "chosen_ids": ids[start:], "rejected_ids": ids[start:][::-1] + [9]}
             for ids, start in data]
    pairs.write_text("".join(json.dumps(line) + "\n" for line in lines))
    try:
        creamery("train", "dpo", "--model", base, "--data", pairs, "--out", trained, "--set", "lora.r=3",
                 "--set", "lora.alpha=5", "--set", f"lora.target-modules={json.dumps(targets)}", "--set", "epochs=3",
                 "--set", "learning-rate=1e-2", "--set", "batch-size=2", "--set", f"lora.rslora={json.dumps(bool(seed % 2))}")
        ours = our_logps(base, data, work, "--adapter", trained)
    except RuntimeError as error:
        results.fail("adapters that creamery wrote", case, str(error))
        return
    before, after = load(base), peft.PeftModel.from_pretrained(load(base), trained).eval()
    moved = difference(peer_logps(after, data), peer_logps(before, data))
    worst = difference(ours, peer_logps(after, data))
    results.add("adapters that creamery wrote", case, worst if moved > 1e-3 else float("inf"), f"moved by {moved:.1e}")
    shutil.rmtree(trained)


PARTS = {"read": check_reading, "write": check_writing, "generate": check_generation, "adapters": check_adapters}


def main():
    results = Results()
    for name, part in PARTS.items():
        if options.only in (None, name):
            with tempfile.TemporaryDirectory(dir=options.keep) as work:
                part(results, pathlib.Path(work))
    results.table()
    for failure in results.failures:
        print("FAILED", failure)
    print(f"transformers {transformers.__version__}, torch {torch.__version__}: ", end="")
    print("FAILED" if results.failures else f"all within {TOLERANCE:g}")
    return 1 if results.failures else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--creamery", default=REPOSITORY / "target/release/creamery", help="the program")
    parser.add_argument("--only", choices=PARTS, help="run one part")
    parser.add_argument("--keep", help="folder for temporary files")
    options = parser.parse_args()
    BINARY = pathlib.Path(options.creamery).resolve()
    if not BINARY.exists():
        sys.exit(f"{BINARY} is not there: cargo build --release --bin creamery, or name it with --creamery")
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    sys.exit(main())
