#!/usr/bin/env python3
"""Chat templates against transformers.

    python tests/parity/templates.py            checks tests/fixtures/templates/expected.json
    python tests/parity/templates.py --write    makes it anew
    python tests/parity/templates.py --creamery PATH_TO_PROGRAM [--templates FOLDER]
        renders all templates of a folder (default: the fixtures) with the program and with transformers, and compares

Without transformers it says so and does nothing.
"""
import argparse
import datetime
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TEMPLATES = HERE.parent / "fixtures" / "templates"
TOKENIZER = HERE.parent / "fixtures" / "tokenizer" / "tokenizer.json"
SPECIAL = {"bos_token": "<s>", "eos_token": "<|end|>", "pad_token": "<pad>"}


def say(role, *contents):
    return [{"role": role, "content": content} for content in contents]


def talk(*turns):
    return [{"role": role, "content": content} for role, content in turns]


CONVERSATIONS = [
    say("user", "add 23 4"),
    talk(("system", "Be brief."), ("user", "add 23 4")),
    talk(("user", "Hi"), ("assistant", "Yo"), ("user", "What is 2+2?")),
    talk(("system", " s \n"), ("user", "\n\nq "), ("assistant", "\n a \n"), ("user", " z\n")),
    talk(("user", "Hi"), ("assistant", "Yo")),
    talk(("system", ""), ("user", ""), ("assistant", ""), ("user", "x")),
    talk(("user", "a"), ("assistant", "<think>\nhm\n</think>\n\nb"), ("user", "c"), ("assistant", "<think>x</think>y")),
    talk(("user", "q"), ("assistant", "<think>\n\n</think>\n\nfin"), ("user", "<result>z</result>")),
    talk(("user", "café 🚀 <b>&amp;</b> \"q\" 'x' \\ \t\u00a0\u2028"), ("assistant", "日本語 {{ x }} {% y %}"), ("user", "a\r\nb")),
    talk(("user", "a"), ("user", "b"), ("assistant", "c"), ("assistant", "d"), ("user", "e")),
    talk(("user", "a"), ("tool", "{\"x\": 1}"), ("tool", "2"), ("assistant", "b"), ("user", "c")),
    talk(("assistant", "first"), ("user", "b")),
    say("system", "only"),
    talk(("wizard", "w"), ("user", "b")),
    [talk(("user", "%d" % i), ("assistant", "a%d" % i))[j] for i in range(3) for j in range(2)] + say("user", "end"),
]


def tokenizer():
    import transformers.utils.chat_template_utils as utils
    from transformers import PreTrainedTokenizerFast

    class Fixed(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2024, 7, 26)

    utils.datetime = Fixed
    return PreTrainedTokenizerFast(tokenizer_file=str(TOKENIZER), **SPECIAL)


def cases(source):
    for arguments in [{}] + ([{"enable_thinking": False}] if "enable_thinking" in source else []):
        for generation_prompt in [True, False]:
            for number in range(len(CONVERSATIONS)):
                yield arguments, generation_prompt, number


def expected(tok, source):
    """Text and ids of each case; null where transformers refuses."""
    for arguments, generation_prompt, number in cases(source):
        try:
            text = tok.apply_chat_template(
                CONVERSATIONS[number], chat_template=source, add_generation_prompt=generation_prompt, tokenize=False, **arguments
            )
        except Exception:
            text = None
        yield {"arguments": arguments, "generation_prompt": generation_prompt, "conversation": number, "text": text}


def sources(folder):
    for path in sorted(folder.glob("*.jinja")):
        with open(path, encoding="utf-8") as file:
            yield path.stem, file.read()


def program(creamery, source, arguments, generation_prompt, conversations):
    """The texts of conversations as the program makes them; None if it refuses any."""
    with tempfile.TemporaryDirectory() as folder:
        model = pathlib.Path(folder)
        shutil.copy(TOKENIZER, model)
        (model / "tokenizer_config.json").write_text(json.dumps(SPECIAL))
        (model / "chat_template.jinja").write_text(source, encoding="utf-8")
        rows = model / "rows.jsonl"
        rows.write_text("".join(json.dumps({"messages": c}) + "\n" for c in conversations))
        command = [creamery, "template", "--model", model, "--messages", rows]
        command += [] if generation_prompt else ["--no-generation-prompt"]
        for name, value in arguments.items():
            command += ["--template-arg", f"{name}={json.dumps(value)}"]
        ran = subprocess.run(command, capture_output=True, text=True)
        if ran.returncode:
            return None
        return [json.loads(line)["text"] for line in ran.stdout.split("\n") if line]


def compare(tok, creamery, folder):
    equal = different = 0
    for name, source in sources(folder):
        groups = {}
        for case in expected(tok, source):
            key = (json.dumps(case["arguments"]), case["generation_prompt"], case["text"] is None)
            groups.setdefault(key, []).append(case)
        wrong = []
        for (arguments, generation_prompt, refused), group in groups.items():
            arguments = json.loads(arguments)
            batches = [[case] for case in group] if refused else [group]
            for batch in batches:
                found = program(creamery, source, arguments, generation_prompt, [CONVERSATIONS[c["conversation"]] for c in batch])
                found = found or [None] * len(batch)
                bad = [c["conversation"] for c, text in zip(batch, found) if text != c["text"]]
                wrong += bad
                equal, different = equal + len(batch) - len(bad), different + len(bad)
        if wrong:
            print(f"{name}: differs on conversations {sorted(set(wrong))}")
    print(f"{equal} equal, {different} different")
    return different == 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--creamery")
    parser.add_argument("--templates", type=pathlib.Path, default=TEMPLATES)
    arguments = parser.parse_args()
    try:
        tok = tokenizer()
    except ImportError as e:
        print(f"skipped: {e}")
        return True
    if arguments.creamery:
        return compare(tok, arguments.creamery, arguments.templates)
    made = {
        "conversations": CONVERSATIONS,
        "templates": {name: list(expected(tok, source)) for name, source in sources(TEMPLATES)},
    }
    text = json.dumps(made, ensure_ascii=False, indent=1) + "\n"
    file = TEMPLATES / "expected.json"
    if arguments.write:
        file.write_text(text, encoding="utf-8")
        return True
    same = file.read_text(encoding="utf-8") == text
    print("the golden texts are those of transformers" if same else "the golden texts are not those of transformers")
    return same


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
