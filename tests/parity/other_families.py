"""Makes the models in tests/fixtures/models/other: families that Creamery runs through candle-transformers.

    python tests/parity/other_families.py

Each is tiny and random, with weights that bfloat16 holds exactly; `expected.json` holds what transformers computes
with them in float32: the log-probabilities of a sequence's tokens, and the tokens of greedy decoding.
"""

import json
import pathlib

import torch
import transformers
from transformers import (
    Gemma2Config,
    GemmaConfig,
    Olmo2Config,
    Phi3Config,
    PhiConfig,
    Starcoder2Config,
)

OUT = pathlib.Path(__file__).parent.parent / "fixtures" / "models" / "other"
# The vocabulary of examples/quickstart/model, whose tokenizer the tests lend to these models.
COMMON = dict(
    vocab_size=263,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=256,
    bos_token_id=1,
    eos_token_id=6,
    pad_token_id=0,
    attn_implementation="eager",
)
CONFIGS = {
    "gemma": GemmaConfig(**COMMON, head_dim=16),
    "gemma2": Gemma2Config(**COMMON, head_dim=16, query_pre_attn_scalar=16, sliding_window=128),
    "phi": PhiConfig(**{**COMMON, "num_key_value_heads": 4}, partial_rotary_factor=0.5),
    "phi3": Phi3Config(**COMMON, sliding_window=None),
    "olmo2": Olmo2Config(**COMMON),
    "starcoder2": Starcoder2Config(**COMMON, sliding_window=None),
}


def main() -> None:
    torch.set_num_threads(1)
    for seed, (name, config) in enumerate(CONFIGS.items()):
        torch.manual_seed(seed)
        model = transformers.AutoModelForCausalLM.from_config(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                # Norms and biases away from 1 and 0, so that leaving one out shows.
                spread = 0.2 if parameter.dim() > 1 else 0.1
                parameter.add_(torch.randn_like(parameter) * spread)
                parameter.copy_(parameter.to(torch.bfloat16).to(torch.float32))
        ids = torch.randint(7, 263, (1, 60))
        ids[0, 0] = 1
        with torch.no_grad():
            logits = model(ids).logits[0].to(torch.float64)
        logps = torch.log_softmax(logits, dim=-1)
        start = 20
        tokens = ids[0, start:]
        expected = logps[torch.arange(start - 1, 59), tokens]
        prompt = ids[:, :start]
        new = prompt
        with torch.no_grad():
            for _ in range(16):
                new = torch.cat([new, model(new).logits[:, -1:].argmax(-1)], dim=1)
        folder = OUT / name
        folder.mkdir(parents=True, exist_ok=True)
        model.to(torch.bfloat16).save_pretrained(folder)
        (folder / "expected.json").write_text(
            json.dumps(
                {
                    "prompt_ids": prompt[0].tolist(),
                    "response_ids": tokens.tolist(),
                    "token_logps": expected.tolist(),
                    "greedy_ids": new[0, start:].tolist(),
                }
            )
            + "\n"
        )


if __name__ == "__main__":
    main()
