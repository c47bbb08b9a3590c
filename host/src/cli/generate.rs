//! `creamery generate`

use std::ops::Range;
use std::path::{Path, PathBuf};

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
use crate::round::exchange::{CURRENT, GroupFile};
use crate::round::sample::{finish, source_purpose, without_eos};
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

Responses of several models in the same groups, for rankers that tell them apart (rank --plugin builtin:temporal):
--source NAME marks the responses and draws them from random streams of that name, those of a run's [[sample.from]];
--append-to FILE puts them behind the responses of FILE's groups, to the very prompts' tokens that stand there; where
a group has responses of this source, the numbers of the new ones go on from theirs, so that they are other draws.

Examples:
  creamery generate --model examples/quickstart/model --prompts examples/stages/prompts.jsonl --greedy
  creamery generate --model examples/quickstart/model --prompts examples/stages/prompts.jsonl \
    --temperature 0.8 --top-p 0.95 --top-k 0 -n 4 --seed 1 --out out/groups.jsonl
  creamery generate --model examples/quickstart/model --source M0 --append-to examples/stages/groups.jsonl \
    --temperature 0.8 --top-p 0.95 --top-k 0 -n 2 --seed 1 --out out/sources.jsonl"#;

/// Responses of a model to prompts, with their log-probabilities
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Generate {
    #[command(flatten)]
    model: ModelArgs,
    /// JSON Lines with the prompts
    #[arg(long, value_name = "FILE", required_unless_present = "append_to")]
    prompts: Option<PathBuf>,
    /// JSON Lines that this command wrote: the responses come behind those of its groups; what judging and ranking
    /// said of them goes
    #[arg(long, value_name = "FILE", requires = "source", conflicts_with_all = ["prompts", "raw", "template", "template_arg", "date"])]
    append_to: Option<PathBuf>,
    /// The model is not the policy that is to be trained but another one, of this name
    #[arg(long, value_name = "NAME", value_parser = source_name)]
    source: Option<String>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
}

/// Responses that are sampled, and then written, together.
const RESPONSES: usize = 2048;

impl Generate {
    pub(super) fn run(self) -> Result<()> {
        let input = self.read()?;
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
        let text = match self.raw || self.append_to.is_some() {
            true => Text::Raw(Box::new(Tokenizer::load(&folder)?)),
            false => Text::Chat(Box::new(self.model.chat(&model, &options)?)),
        };
        text.tokenizer().check_vocab(model.config.vocab_size)?;
        let eos = text.tokenizer().stop_ids(&folder)?;
        announce(&progress, &sampling, &defaults, eos.is_empty());

        let mut out = self.out.open(&[input.path()])?;
        progress.start("generate");
        let started = std::time::Instant::now();
        let purpose = self.source.as_deref().map_or_else(|| "sample".to_owned(), |name| source_purpose("sample", name));
        let (mut done, all) = (0, input.len() * n);
        let mut appended = Vec::new();
        for first in (0..input.len()).step_by((RESPONSES / n).max(1)) {
            let part = first..input.len().min(first + (RESPONSES / n).max(1));
            let prompts = input.encode(part.clone(), &text, &model)?;
            let key = |prompt| StreamKey { seed: self.seed, purpose: &purpose, round: self.round.into(), prompt };
            let requests: Vec<Request> = (part.clone().zip(&prompts))
                .map(|(row, ids)| {
                    let first = input.drawn(row, self.source.as_deref());
                    Request { prompt: ids, n, first, key: key(input.id(row)) }
                })
                .collect();
            let samples = generate(&model, &requests, &sampling, &eos, &mut |d, _| progress.update(done + d, all))?;
            for ((row, prompt_ids), samples) in part.clone().zip(&prompts).zip(samples) {
                let response = |sample| response(sample, text.tokenizer(), &eos, self.source.clone());
                let responses = samples.into_iter().map(response).collect::<Result<Vec<_>>>()?;
                match &input {
                    Input::Prompts(_, rows) => {
                        let PromptRow { id, prompt, .. } = &rows[row];
                        out.write(&Group { id, prompt, prompt_ids, responses })?;
                    }
                    Input::Groups(_) => appended.push(responses),
                }
            }
            done += part.len() * n;
        }
        if let Input::Groups(file) = input {
            for row in file.with_responses(appended)? {
                out.write(&row)?;
            }
        }
        progress.finish(false, started.elapsed().as_secs_f64());
        out.finish()
    }

    fn read(&self) -> Result<Input> {
        match (&self.append_to, &self.prompts) {
            (Some(groups), _) => Ok(Input::Groups(GroupFile::read(groups)?)),
            (None, Some(prompts)) if self.raw => Ok(Input::Prompts(prompts.clone(), rows::read_texts(prompts)?)),
            (None, Some(prompts)) => Ok(Input::Prompts(prompts.clone(), rows::read_prompts(prompts)?)),
            (None, None) => Err(Error::config("neither --prompts nor --append-to is given")),
        }
    }
}

/// What responses are drawn to.
enum Input {
    Prompts(PathBuf, Vec<PromptRow>),
    Groups(GroupFile),
}

impl Input {
    fn path(&self) -> &Path {
        match self {
            Input::Prompts(path, _) => path,
            Input::Groups(file) => &file.path,
        }
    }

    fn len(&self) -> usize {
        match self {
            Input::Prompts(_, rows) => rows.len(),
            Input::Groups(file) => file.sampled.len(),
        }
    }

    fn id(&self, row: usize) -> &str {
        match self {
            Input::Prompts(_, rows) => &rows[row].id,
            Input::Groups(file) => &file.sampled[row].id,
        }
    }

    /// How many responses of the source a group has already: the numbers of the new ones come after theirs.
    fn drawn(&self, row: usize, source: Option<&str>) -> usize {
        match self {
            Input::Prompts(..) => 0,
            Input::Groups(file) => file.sampled[row].responses.iter().filter(|r| r.source.as_deref() == source).count(),
        }
    }

    fn error(&self, row: usize, error: Error) -> Error {
        match self {
            Input::Prompts(path, rows) => error.row(path, rows[row].line),
            Input::Groups(file) => error.row(&file.path, file.line(row)),
        }
    }

    /// The prompts' ids, checked one by one, so that an error names the line.
    fn encode(&self, part: Range<usize>, text: &Text, model: &Decoder) -> Result<Vec<Vec<u32>>> {
        let mut prompts = Vec::with_capacity(part.len());
        for row in part {
            let at = |e: Error| self.error(row, e);
            let ids = match self {
                Input::Prompts(_, rows) => text.encode(&rows[row].prompt).map_err(at)?,
                Input::Groups(file) => file.sampled[row].prompt_ids.clone(),
            };
            let vocabulary = model.config.vocab_size;
            if let Some(id) = ids.iter().find(|id| **id as usize >= vocabulary) {
                let what = format!("the prompt has the token {id}, the model's vocabulary has {vocabulary}");
                return Err(at(Error::input(what).help("sample from a model of the family that the groups are of")));
            }
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

/// The name of a `--source`.
fn source_name(name: &str) -> std::result::Result<String, String> {
    match name {
        "" => Err("expected a name".into()),
        CURRENT => Err(format!("\"{CURRENT}\" is the policy itself, whose responses have no source; leave it out")),
        name => Ok(name.to_owned()),
    }
}

fn response(sample: Sample, tokenizer: &Tokenizer, eos: &[u32], source: Option<String>) -> Result<Response> {
    let text = tokenizer.decode(without_eos(&sample.ids, eos))?;
    let logp = sequence_logp(&sample.logps);
    Ok(Response { text, ids: sample.ids, finish: finish(sample.finish), logps: sample.logps, logp, source })
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
