//! The files of the embedded world: tokenizer, chat template, model configuration and data.

use crate::judging;
use crate::tasks::{Problem, Problems, eval_row, prompt_row, sft_row};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::{fs, io};

/// Every file's problems come from one stream, so no question stands in two files.
pub const WORLD_SEED: u64 = 20_410;
pub const PROMPTS: usize = 2400;
pub const SFT: usize = 400;
pub const EVAL: usize = 1000;

const SPECIAL: [&str; 7] = ["<pad>", "<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"];

const CHAT_TEMPLATE: &str = "{{- bos_token -}}
{%- for message in messages -%}
{%- if message['role'] not in ['system', 'user', 'assistant'] -%}
{{- raise_exception('unknown role ' ~ message['role']) -}}
{%- endif -%}
{{- '<|' ~ message['role'] ~ '|>' ~ message['content'] | trim ~ '<|end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}
";

/// Writes the data files and everything of the model folder but its weights.
pub fn write(root: &Path) -> io::Result<()> {
    let model = root.join("model");
    fs::create_dir_all(&model)?;
    pretty(&model.join("config.json"), &config())?;
    let generation = json!({"bos_token_id": 1, "eos_token_id": 6, "pad_token_id": 0});
    pretty(&model.join("generation_config.json"), &generation)?;
    pretty(&model.join("tokenizer.json"), &tokenizer())?;
    let names = json!({
        "bos_token": "<s>", "eos_token": "<|end|>", "pad_token": "<pad>",
        "clean_up_tokenization_spaces": false, "tokenizer_class": "PreTrainedTokenizerFast",
    });
    pretty(&model.join("tokenizer_config.json"), &names)?;
    fs::write(model.join("chat_template.jinja"), CHAT_TEMPLATE)?;

    let mut problems = Problems::new(WORLD_SEED);
    let eval = problems.take(EVAL);
    let sft = problems.take(SFT);
    let prompts = problems.take(PROMPTS);
    lines(&root.join("eval.jsonl"), eval.iter().enumerate().map(|(i, p)| eval_row(&format!("eval-{i:04}"), p)))?;
    lines(&root.join("sft.jsonl"), sft.iter().enumerate().map(|(i, p)| sft_row(&format!("sft-{i:04}"), p)))?;
    lines(&root.join("prompts.jsonl"), prompts.iter().enumerate().map(|(i, p)| prompt_row(&format!("p-{i:04}"), p)))?;
    lines(&root.join("judging.jsonl"), judging::rows().into_iter())
}

/// `{"id", "answer"}` of the questions for self-rewarding and for evaluation: what the judge that knows the answers reads,
/// and nothing else.
pub fn write_answers(root: &Path) -> io::Result<()> {
    let mut problems = Problems::new(WORLD_SEED);
    let eval = problems.take(EVAL);
    problems.take(SFT);
    let prompts = problems.take(PROMPTS);
    let row = |id: String, p: &Problem| json!({"id": id, "answer": p.answer});
    let prompts = prompts.iter().enumerate().map(|(i, p)| row(format!("p-{i:04}"), p));
    let eval = eval.iter().enumerate().map(|(i, p)| row(format!("eval-{i:04}"), p));
    lines(&root.join("answers.jsonl"), prompts.chain(eval))
}

/// The questions of all the data files, which training M0 must not see.
pub fn reserved() -> Problems {
    let mut problems = Problems::new(WORLD_SEED);
    for count in [EVAL, SFT, PROMPTS] {
        problems.take(count);
    }
    problems
}

fn config() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "float32",
        "vocab_size": SPECIAL.len() + 256, "hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "max_position_embeddings": 256,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": true,
        "attention_bias": false, "mlp_bias": false, "initializer_range": 0.02,
        "bos_token_id": 1, "eos_token_id": 6, "pad_token_id": 0,
    })
}

/// A byte-level BPE without merges: every byte is a token, so any text can be written.
fn tokenizer() -> Value {
    let mut vocabulary = Map::new();
    for name in SPECIAL.iter().map(|s| s.to_string()).chain((0..=255).map(byte_character)) {
        let id = vocabulary.len();
        vocabulary.insert(name, id.into());
    }
    let added: Vec<Value> = (SPECIAL.iter().enumerate())
        .map(|(id, content)| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        })
        .collect();
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                  "vocab": vocabulary, "merges": []},
    })
}

/// The printable character that byte-level BPE writes for a byte (as in GPT-2's vocabulary).
fn byte_character(byte: u32) -> String {
    let printable = |b: u32| (33..=126).contains(&b) || (161..=172).contains(&b) || (174..=255).contains(&b);
    let code = if printable(byte) { byte } else { 256 + (0..byte).filter(|&b| !printable(b)).count() as u32 };
    char::from_u32(code).expect("below 512, no surrogate").to_string()
}

fn pretty(path: &Path, value: &Value) -> io::Result<()> {
    fs::write(path, serde_json::to_string_pretty(value)? + "\n")
}

fn lines(path: &Path, rows: impl Iterator<Item = Value>) -> io::Result<()> {
    fs::write(path, rows.map(|row| row.to_string() + "\n").collect::<String>())
}
