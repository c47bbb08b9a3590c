//! `creamery train`

use std::cell::RefCell;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::chat::TemplateArgs;
use super::plugin_args::ObjectiveArgs;
use super::stage::ModelArgs;
use super::trust_args::TrustArgs;
use crate::config::{Given, Method, TrainingSettings};
use crate::error::{Error, Result};
use crate::hub;
use crate::report::Progress;
use crate::train::StepMetrics;
use crate::train::job::{Job, Outcome};

/// Fine-tune a model on demonstrations or preferences, from files to a Hugging Face folder
#[derive(Args)]
pub(super) struct Train {
    #[command(subcommand)]
    method: MethodCommand,
}

#[derive(Subcommand)]
enum MethodCommand {
    Sft(Sft),
    Dpo(Dpo),
}

impl Train {
    pub(super) fn run(self) -> Result<()> {
        match self.method {
            MethodCommand::Sft(command) => command.common.run(Method::Sft, (None, false), None, Vec::new()),
            MethodCommand::Dpo(command) => {
                let given = [
                    ("--loss", "loss", command.loss),
                    ("--beta", "beta", command.beta),
                    ("--label-smoothing", "label-smoothing", command.label_smoothing),
                ];
                let (objective, trust) = (command.objective, command.trust);
                if let (false, Some(option)) = (objective.is_given(), trust.given()) {
                    return Err(Error::config(format!("{option} is for the plugin of --objective, and there is none"))
                        .help("leave it out, or name the plugin"));
                }
                let method = if objective.is_given() { Method::Objective } else { Method::Dpo };
                let reference = (command.reference, command.no_reference);
                command.common.run(method, reference, Some((objective, trust)), options(given))
            }
        }
    }
}

const SFT_EXAMPLES: &str = r#"Rows, one JSON object a line:
  {"prompt": [messages], "completion": [message]}       a conversation, through the model's chat template
  {"prompt": "text", "completion": "text"}              plain text, as in TRL: an end token is added, no template
  {"prompt_ids": [1, 5], "completion_ids": [9, 2]}      token ids as they are

Settings (--set KEY=VALUE, or KEY = VALUE in the file of --config), with their defaults:
  epochs 3, max-steps, batch-size 32, micro-batch-tokens 8192, gradient-checkpointing false, learning-rate 5e-5,
  schedule "cosine" ("linear", "constant"), warmup-ratio 0.1, weight-decay 0.01, decay-all false,
  adam-betas [0.9, 0.999], adam-eps 1e-8, max-grad-norm 1.0, max-length (the model's context; longer rows are dropped
  and counted), shuffle true, seed 0, save-steps 0, save-total-limit, and the table lora: r, alpha, dropout, rslora,
  target-modules

Examples:
  creamery train sft --model examples/quickstart/model --data examples/stages/sft.jsonl --out out/sft
  creamery train sft --model examples/quickstart/model --data examples/stages/sft.jsonl --out out/sft-steps \
    --set max-steps=6 --set batch-size=8 --set warmup-ratio=0 --save-steps 2 --save-total-limit 1"#;

/// Supervised fine-tuning: learn the completions of the rows
#[derive(Args)]
#[command(after_help = SFT_EXAMPLES)]
struct Sft {
    #[command(flatten)]
    common: Common,
}

const DPO_EXAMPLES: &str = r#"Rows, one JSON object a line; TRL's DPOTrainer reads the same files:
  {"prompt": [messages], "chosen": [message], "rejected": [message]}
  {"chosen": [messages], "rejected": [messages]}        the messages that both begin with are the prompt
  {"prompt": "text", "chosen": "text", "rejected": "text"}     plain text: an end token is added, no template
  {"prompt_ids": [1, 5], "chosen_ids": [9, 2], "rejected_ids": [7, 2]}     token ids as they are
  and, if wanted, "id", "consistency" from 0 to 1 (the losses cream and signed-weight need it), "weight", and
  "columns", an object of numbers for a plugin's objective

Losses:
  dpo (--label-smoothing makes it cDPO), cream, ipo (per token, as TRL), ipo-seq (as in the paper), hinge, robust,
  simpo, orpo (both without a reference), sppo-hard, signed-weight; or --objective: a regularizer plugin's own, for
  which a row without consistency counts as certain, unless it is the plugin's default objective, CREAM's mix

Settings (--set KEY=VALUE, or KEY = VALUE in the file of --config), with their defaults:
  loss "dpo", beta 0.1 (simpo: 2), label-smoothing 0 (robust: 0.1), gamma 1 (simpo), nll-weight 0,
  epochs 1, max-steps, batch-size 32, micro-batch-tokens 8192, gradient-checkpointing false, learning-rate 1e-6,
  schedule "cosine" ("linear", "constant"), warmup-ratio 0.1, weight-decay 0.01, decay-all false,
  adam-betas [0.9, 0.999], adam-eps 1e-8, max-grad-norm 1.0, max-length (the model's context; longer rows are dropped
  and counted), shuffle true, seed 0, save-steps 0, save-total-limit, and the table lora: r, alpha, dropout, rslora,
  target-modules

Examples:
  creamery train dpo --model examples/quickstart/model --data examples/stages/pairs.jsonl --out out/dpo \
    --set learning-rate=1e-5 --set batch-size=4
  creamery train dpo --model examples/quickstart/model --data examples/stages/pairs.jsonl --out out/cream \
    --loss cream --beta 0.2 --set learning-rate=1e-5 --set batch-size=4 --save-steps 2
  creamery train dpo --model examples/quickstart/model --data examples/stages/pairs.jsonl --out out/simpo \
    --loss simpo --set gamma=0.5 --set learning-rate=1e-5 --set batch-size=4
  creamery train dpo --model examples/quickstart/model --data examples/stages/pairs.jsonl --out out/plugin \
    --objective builtin:cream --set learning-rate=1e-5 --set batch-size=4
  creamery train dpo --model examples/quickstart/model --data examples/stages/pairs.jsonl --out out/adapter \
    --lora-r 4 --set learning-rate=1e-4 --set batch-size=4"#;

/// Preference optimization: prefer the chosen to the rejected responses of the rows
#[derive(Args)]
#[command(after_help = DPO_EXAMPLES)]
struct Dpo {
    #[command(flatten)]
    common: Common,
    /// The reference model, if it is not the one that training starts from
    #[arg(long, value_name = "DIR")]
    reference: Option<PathBuf>,
    /// Compute no reference, for an objective that looks at none; with simpo and orpo there is none anyway
    #[arg(long, conflicts_with = "reference")]
    no_reference: bool,
    /// The preference loss, see below
    #[arg(long, value_name = "NAME")]
    loss: Option<String>,
    #[command(flatten)]
    objective: ObjectiveArgs,
    #[command(flatten)]
    trust: TrustArgs,
    /// Strength of the pull to the reference
    #[arg(long, value_name = "NUMBER")]
    beta: Option<String>,
    /// The share of pairs that are assumed to be the wrong way round
    #[arg(long, value_name = "NUMBER")]
    label_smoothing: Option<String>,
}

#[derive(Args)]
struct Common {
    #[command(flatten)]
    model: ModelArgs,
    /// JSON Lines with the rows to learn from
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// The folder to make: model, tokenizer, metrics.jsonl, train.json, tensorboard/. It appears when all is done;
    /// until then the work stands in DIR.partial
    #[arg(long, short, value_name = "DIR")]
    out: PathBuf,
    /// A TOML file with settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A setting, as often as you like; it counts over the file's
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Train an adapter of this rank on the model (LoRA), which stays as it is; the result is the adapter
    #[arg(long, value_name = "N")]
    lora_r: Option<String>,
    /// The adapter counts alpha / r times; without it alpha is 2 r
    #[arg(long, value_name = "NUMBER")]
    lora_alpha: Option<String>,
    /// Go on with an unfinished training from its last checkpoint; the result has the same bytes
    #[arg(long)]
    resume: bool,
    /// Optimizer steps from one checkpoint to the next; 0 makes none
    #[arg(long, value_name = "N")]
    save_steps: Option<String>,
    /// Keep only this many of the newest checkpoints
    #[arg(long, value_name = "N")]
    save_total_limit: Option<String>,
    #[command(flatten)]
    template: TemplateArgs,
    /// No progress, only warnings and errors
    #[arg(long, short)]
    quiet: bool,
}

impl Common {
    fn run(
        self,
        method: Method,
        (reference, no_reference): (Option<PathBuf>, bool),
        objective: Option<(ObjectiveArgs, TrustArgs)>,
        mut given: Vec<Given>,
    ) -> Result<()> {
        let own = [
            ("--lora-r", "lora.r", self.lora_r.clone()),
            ("--lora-alpha", "lora.alpha", self.lora_alpha.clone()),
            ("--save-steps", "save-steps", self.save_steps.clone()),
            ("--save-total-limit", "save-total-limit", self.save_total_limit.clone()),
        ];
        given.extend(options(own));
        let settings = TrainingSettings::load(method, self.config.as_deref(), &self.set, &given)?;
        let mut progress = if self.quiet { Progress::silent() } else { Progress::new() };
        let objective = objective.map_or(Ok(None), |(plugin, trust)| plugin.load(&trust, &progress))?;
        let folder = self.model.fetch(&mut progress)?;
        let reference = reference.map(|named| hub::folder(&named, hub::Part::Model, &mut progress)).transpose()?;
        let adapter = self.model.adapter()?;
        let job = Job {
            settings: &settings,
            model: &folder,
            adapter: adapter.as_deref(),
            chat: self.template.options()?,
            load: &|| self.model.load(),
            data: &self.data,
            reference: reference.as_deref(),
            no_reference,
            objective: objective.map(RefCell::new),
            out: &self.out,
            resume: self.resume,
        };
        let started = std::time::Instant::now();
        let outcome = job.run(&mut progress)?;
        progress.finish(false, started.elapsed().as_secs_f64());
        let place = self.out.display();
        progress.line(&match outcome {
            Outcome::WasDone => format!("{place} was there already, made from the same files and settings"),
            Outcome::Done { steps } => {
                let loss = |step: Option<&StepMetrics>| step.and_then(|s| s.get("loss")).unwrap_or(f64::NAN);
                let (first, last) = (loss(steps.first()), loss(steps.last()));
                format!("{} steps, loss {first:.4} to {last:.4}; the model is in {place}", steps.len())
            }
        });
        Ok(())
    }
}

/// The options that were given.
fn options<const N: usize>(all: [(&'static str, &'static str, Option<String>); N]) -> Vec<Given> {
    all.into_iter().filter_map(|(option, key, value)| Some((option, key, value?))).collect()
}
