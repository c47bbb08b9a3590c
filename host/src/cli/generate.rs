//! `creamery generate`

use std::path::PathBuf;

use clap::Args;
use creamery_plugin::{Finish, Message};
use serde::Serialize;

use super::chat::TemplateArgs;
use super::stage::{ModelArgs, OutArgs};
use crate::data::rows::{self, PromptRow};
use crate::data::{ChatFormat, Tokenizer};
use crate::error::{Error, Result};
use crate::generate::{Defaults, Request, Sample, SamplingConfig, StreamKey, generate};
use crate::model::Decoder;
use crate::report::Progress;
use crate::round::sample::{finish, without_eos};
use crate::train::sequence_logp;

const EXAMPLES: &str = r#"Rows:
  {"prompt": [{"role": "user", "content": "add 23 4"}]}    or a string, which is one user message; with --raw, plain
                                                           text that no chat template touches

Result, one line a prompt, in their order; log-probabilities in nats, at temperature 1 and before any filter:
  {"id": "row-000000", "prompt": [messages], "prompt_ids": [1, 4, 71], "responses":
    [{"text": "27", "ids": [20, 25, 6], "finish": "stop", "logps": [-0.1, -0.2, 0.0], "logp": -0.3}]}

Sampling: what the model's generation_config.json says (do_sample, temperature, top_p, top_k, min_p,
repetition_penalty, max_new_tokens), read as transformers does: greedy unless it says do_sample, and where tokens are
drawn top-k 50 unless it or you say otherwise (--top-k 0 is off). Any of --temperature, --top-p, --top-k and --min-p
draws tokens. Samples depend on the seed, the prompt's id and their number alone: not on threads or other prompts.

Examples:
  creamery generate --model examples/quickstart/model --prompts examples/stages/prompts.jsonl --greedy
  creamery generate --model examples/quickstart/model --prompts examples/stages/prompts.jsonl \
    --temperature 0.8 --top-p 0.95 --top-k 0 -n 4 --seed 1 --out out/groups.jsonl"#;

/// Responses of a model to prompts, with their log-probabilities
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Generate {
    #[command(flatten)]
    model: ModelArgs,
    /// JSON Lines with the prompts
    #[arg(long, value_name = "FILE")]
    prompts: PathBuf,
    /// Prompts are plain text: no chat template, and the special tokens that the tokenizer puts around a text
    #[arg(long, conflicts_with_all = ["template", "template_arg", "date"])]
    raw: bool,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Responses to each prompt
    #[arg(short, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65536))]
    n: u32,
    /// With the round and the prompt's id, names the random streams
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Samples are those of a run's round N with the same seed, model and settings
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    round: u32,
    #[command(flatten)]
    template: TemplateArgs,
    #[command(flatten)]
    out: OutArgs,
}

#[derive(Args)]
struct SamplingArgs {
    /// Take the most probable token each time
    #[arg(long, conflicts_with_all = ["temperature", "top_p", "top_k", "min_p"])]
    greedy: bool,
    /// Divides the logits; 0 is greedy
    #[arg(long, value_name = "T")]
    temperature: Option<f32>,
    /// Keep the smallest set of tokens whose probability reaches this; 1 keeps all
    #[arg(long, value_name = "P")]
    top_p: Option<f32>,
    /// Keep the k most probable tokens; 0 keeps all
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Keep tokens at least this probable relative to the most probable one; 0 keeps all
    #[arg(long, value_name = "P")]
    min_p: Option<f32>,
    /// Above 1, makes tokens that were there before less probable
    #[arg(long, value_name = "R")]
    repetition_penalty: Option<f32>,
    /// Tokens that a response may have at most, the end token included
    #[arg(long, value_name = "N")]
    max_new_tokens: Option<usize>,
}

impl SamplingArgs {
    /// The model's way of sampling with what the command line changes of it.
    fn over(&self, model: &SamplingConfig) -> Result<SamplingConfig> {
        let drawn = self.temperature.is_some() || self.top_p.is_some() || self.top_k.is_some() || self.min_p.is_some();
        let sampling = SamplingConfig {
            greedy: self.greedy || model.greedy && !drawn,
            temperature: self.temperature.unwrap_or(model.temperature),
            top_p: self.top_p.unwrap_or(model.top_p),
            top_k: self.top_k.unwrap_or(model.top_k),
            min_p: self.min_p.unwrap_or(model.min_p),
            repetition_penalty: self.repetition_penalty.unwrap_or(model.repetition_penalty),
            max_new_tokens: self.max_new_tokens.unwrap_or(model.max_new_tokens),
        };
        sampling.validate()?;
        Ok(sampling)
    }
}

#[derive(Serialize)]
struct Group<'a> {
    id: &'a str,
    prompt: &'a [Message],
    prompt_ids: &'a [u32],
    responses: Vec<Response>,
}

#[derive(Serialize)]
struct Response {
    text: String,
    ids: Vec<u32>,
    finish: Finish,
    logps: Vec<f32>,
    logp: f64,
}

/// Responses that are sampled, and then written, together.
const RESPONSES: usize = 2048;

impl Generate {
    pub(super) fn run(self) -> Result<()> {
        let rows = if self.raw { rows::read_texts(&self.prompts)? } else { rows::read_prompts(&self.prompts)? };
        let options = self.template.options()?;
        let mut progress = self.out.progress();
        let folder = self.model.fetch(&mut progress)?;
        let defaults = Defaults::load(&folder)?;
        let sampling = self.sampling.over(&defaults.sampling)?;
        let n = self.n as usize;
        if sampling.is_greedy() && n > 1 {
            return Err(Error::config(format!("-n {n}: greedy responses to a prompt are all the same"))
                .help("draw tokens, for example with --temperature 1, or leave -n out"));
        }
        let model = self.model.load()?;
        let text = match self.raw {
            true => Text::Raw(Box::new(Tokenizer::load(&folder)?)),
            false => Text::Chat(Box::new(self.model.chat(&model, &options)?)),
        };
        text.tokenizer().check_vocab(model.config.vocab_size)?;
        let eos = text.tokenizer().stop_ids(&folder)?;
        announce(&progress, &sampling, &defaults, eos.is_empty());

        let mut out = self.out.open(&[&self.prompts])?;
        progress.start("generate");
        let started = std::time::Instant::now();
        let (mut done, all) = (0, rows.len() * n);
        for part in rows.chunks((RESPONSES / n).max(1)) {
            let prompts = self.encode(part, &text, &model)?;
            let key = |id| StreamKey { seed: self.seed, purpose: "sample", round: self.round.into(), prompt: id };
            let requests = part.iter().zip(&prompts).map(|(row, ids)| Request { prompt: ids, n, key: key(&row.id) });
            let requests: Vec<Request> = requests.collect();
            let samples = generate(&model, &requests, &sampling, &eos, &mut |d, _| progress.update(done + d, all))?;
            for ((row, prompt_ids), samples) in part.iter().zip(&prompts).zip(samples) {
                let responses = samples.into_iter().map(|sample| response(sample, text.tokenizer(), &eos));
                let responses = responses.collect::<Result<_>>()?;
                out.write(&Group { id: &row.id, prompt: &row.prompt, prompt_ids, responses })?;
            }
            done += part.len() * n;
        }
        progress.finish(false, started.elapsed().as_secs_f64());
        out.finish()
    }

    /// The prompts' ids, checked one by one, so that an error names the line.
    fn encode(&self, rows: &[PromptRow], text: &Text, model: &Decoder) -> Result<Vec<Vec<u32>>> {
        let mut prompts = Vec::with_capacity(rows.len());
        for row in rows {
            let at = |e: Error| e.row(&self.prompts, row.line);
            let ids = text.encode(&row.prompt).map_err(at)?;
            let (length, longest) = (ids.len(), model.max_positions());
            if ids.is_empty() {
                return Err(at(Error::input("the prompt has no tokens")));
            }
            if length >= longest {
                let what = format!("the prompt has {length} tokens, the model's context is {longest}");
                return Err(at(Error::input(what).help("shorten the prompt or remove the row")));
            }
            prompts.push(ids);
        }
        Ok(prompts)
    }
}

/// How prompts become tokens.
enum Text {
    Chat(Box<ChatFormat>),
    Raw(Box<Tokenizer>),
}

impl Text {
    fn tokenizer(&self) -> &Tokenizer {
        match self {
            Text::Chat(chat) => chat.tokenizer(),
            Text::Raw(tokenizer) => tokenizer,
        }
    }

    fn encode(&self, prompt: &[Message]) -> Result<Vec<u32>> {
        match self {
            Text::Chat(chat) => chat.encode(prompt, true),
            Text::Raw(tokenizer) => {
                tokenizer.encode_with_special(prompt.first().map_or("", |message| message.content.as_str()))
            }
        }
    }
}

fn response(sample: Sample, tokenizer: &Tokenizer, eos: &[u32]) -> Result<Response> {
    let text = tokenizer.decode(without_eos(&sample.ids, eos))?;
    let logp = sequence_logp(&sample.logps);
    Ok(Response { text, ids: sample.ids, finish: finish(sample.finish), logps: sample.logps, logp })
}

/// Says how tokens are chosen, and what of the model's wishes cannot be met.
fn announce(progress: &Progress, sampling: &SamplingConfig, defaults: &Defaults, endless: bool) {
    let SamplingConfig { temperature, top_p, top_k, min_p, repetition_penalty, max_new_tokens, .. } = sampling;
    let mut words = match sampling.is_greedy() {
        true => vec!["greedy".to_owned()],
        false => vec![format!("temperature {temperature}"), format!("top-p {top_p}"), format!("top-k {top_k}")],
    };
    if *min_p > 0.0 && !sampling.is_greedy() {
        words.push(format!("min-p {min_p}"));
    }
    if *repetition_penalty != 1.0 {
        words.push(format!("repetition penalty {repetition_penalty}"));
    }
    words.push(format!("at most {max_new_tokens} new tokens"));
    let source = if defaults.found { "generation_config.json and the command line" } else { "the command line" };
    (progress.teller())(&format!("sampling: {} (from {source})", words.join(", ")));
    if !defaults.unsupported.is_empty() {
        let list = defaults.unsupported.join(", ");
        (progress.warner())(&format!("generation_config.json asks for what is not supported and is left out: {list}"));
    }
    if endless {
        (progress.warner())("no end-of-sequence token is named, so every response has all its tokens");
    }
}
