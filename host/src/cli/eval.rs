//! `creamery eval`

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::chat::TemplateArgs;
use super::print;
use super::stage::ModelArgs;
use crate::data::answer::extractor;
use crate::data::{Extractor, rows};
use crate::error::{Error, Result};
use crate::eval::{PAPER_SUFFIX, Question, Report, Settings};
use crate::report::Progress;
use crate::store::write_atomic;

const EXAMPLES: &str = r#"Rows:
  {"prompt": [messages] or "text", "answer": "42"}
  {"prompt": …, "answer": "B", "choices": ["iron", "copper"], "task": "arc_easy", "id": "q-1"}    all that is possible

Extractors: how the answer is read from a response. Where it has a marker ("Answer:", in any case), only what follows
the last one counts. The known answer is read the same way.
  exact     all of the text, without white space around it
  number    a number; 1,234.50 = 1234.5, 1/2 = 0.5, units and signs of currency are left out
  choice    the letter of a choice; with "choices" in the row also a choice's text
  regex     the first match of --pattern: its first group, or all of it

Written to the folder --out: results.json and samples_TASK.jsonl, in the form of lm-evaluation-harness.

Examples:
  creamery eval --model examples/quickstart/model --task examples/quickstart/eval.jsonl --limit 100 \
    --max-new-tokens 12 --out out/eval
  creamery eval --model examples/quickstart/model --task examples/stages/task.jsonl --temperature 0.8 -n 4 \
    --max-new-tokens 12 --out out/eval-sampled
  creamery eval --model examples/quickstart/model --task examples/benchmarks/arc_easy.jsonl --extractor choice \
    --paper-suffix --max-new-tokens 16 --out out/eval-arc"#;

/// The file of the figures.
const RESULTS: &str = "results.json";

/// Accuracy on questions with known answers
///
/// One greedy answer to each row; with --temperature or -n, sampled answers.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Eval {
    #[command(flatten)]
    model: ModelArgs,
    /// JSON Lines of questions with answers
    #[arg(long, value_name = "FILE")]
    task: PathBuf,
    /// How the answer is read from a response
    #[arg(long, value_enum, default_value = "exact")]
    extractor: Kind,
    /// The regular expression of the extractor `regex`
    #[arg(long, value_name = "REGEX")]
    pattern: Option<String>,
    /// One answer to each row, the likeliest token each time; the default
    #[arg(long, conflicts_with_all = ["temperature", "samples", "top_p"])]
    greedy: bool,
    /// Sample at this temperature [default: 0.8, if -n or --top-p is given]
    #[arg(long, value_name = "T", value_parser = temperature)]
    temperature: Option<f64>,
    /// Answers to each row, sampled [default: 1, with --temperature]
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    samples: Option<u16>,
    /// Sample from the likeliest tokens that have this share of the probability [default: 1, all tokens]
    #[arg(long, value_name = "P", value_parser = share)]
    top_p: Option<f64>,
    /// Most tokens of an answer
    #[arg(long, value_name = "TOKENS", default_value_t = 768, value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    max_new_tokens: u32,
    /// Text after the last message of every prompt
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    suffix: String,
    /// The suffix of the paper, which asks to think step by step and to end with "Answer:"
    #[arg(long, conflicts_with = "suffix")]
    paper_suffix: bool,
    /// The first N rows only
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Of the random streams; the results depend on it only where answers are sampled
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    template: TemplateArgs,
    /// The folder for results.json and the samples
    #[arg(long, short, value_name = "DIR")]
    out: PathBuf,
    /// No progress, only warnings, errors and the table
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Kind {
    Exact,
    Number,
    Choice,
    Regex,
}

impl Eval {
    pub(super) fn run(self) -> Result<()> {
        let extractor = self.extractor()?;
        let mut rows = rows::read_evaluation(&self.task)?;
        let mut settings = self.settings();
        for row in &rows {
            *settings.rows.entry(settings.task_name(row.task.as_deref())).or_default() += 1;
        }
        rows.truncate(settings.limit.unwrap_or(usize::MAX));
        self.check_out()?;

        let mut progress = if self.quiet { Progress::silent() } else { Progress::new() };
        let folder = self.model.fetch(&mut progress)?;
        let model = self.model.load()?;
        let chat = self.model.chat(&model, &self.template.options()?)?;
        let eos = chat.tokenizer().stop_ids(&folder)?;
        let mut questions = Vec::with_capacity(rows.len());
        for row in rows {
            let line = row.line;
            let at = |e: Error| e.row(&self.task, line);
            let question = Question::new(row, &settings.suffix, &chat, model.max_positions()).map_err(at)?;
            question.check(&extractor).map_err(at)?;
            questions.push(question);
        }

        let draw = settings.draw();
        let prompts: Vec<_> = questions.iter().map(|q| q.prompt.clone()).collect();
        progress.start("answer");
        let started = std::time::Instant::now();
        let groups =
            draw.groups(&model, &chat, &eos, &prompts, &mut |drawn| progress.update(drawn.done(), drawn.all()))?;
        progress.finish(false, started.elapsed().as_secs_f64());

        let report = Report::new(settings, &extractor, &questions, &groups);
        self.write(&report)?;
        if let Some(warning) = report.warning() {
            progress.warner()(&warning);
        }
        drop(progress);
        print(&report.table())
    }

    fn settings(&self) -> Settings {
        let greedy = self.temperature.is_none() && self.samples.is_none() && self.top_p.is_none();
        Settings {
            model: self.model.shown(),
            adapter: self.model.shown_adapter(),
            file: self.task.to_string_lossy().into_owned(),
            stem: self.task.file_stem().map_or_else(|| "task".into(), |stem| stem.to_string_lossy().into_owned()),
            filter: self.filter().to_owned(),
            pattern: self.pattern.clone(),
            suffix: if self.paper_suffix { PAPER_SUFFIX.to_owned() } else { self.suffix.clone() },
            rows: BTreeMap::new(),
            limit: self.limit.map(|n| usize::try_from(n).unwrap_or(usize::MAX)),
            greedy,
            samples: usize::from(self.samples.unwrap_or(1)),
            temperature: self.temperature.unwrap_or(0.8),
            top_p: self.top_p.unwrap_or(1.0),
            max_new_tokens: self.max_new_tokens as usize,
            seed: self.seed,
        }
    }

    fn extractor(&self) -> Result<Extractor> {
        match (self.extractor, &self.pattern) {
            (Kind::Regex, Some(pattern)) => extractor(&format!("regex:{pattern}")),
            (Kind::Regex, None) => {
                Err(Error::config("--extractor regex needs a --pattern").help("for example --pattern 'Answer: (.*)'"))
            }
            (_, Some(_)) => {
                Err(Error::config("--pattern is used only with --extractor regex")
                    .help("add it, or leave out --pattern"))
            }
            (_, None) => extractor(self.filter()),
        }
    }

    fn filter(&self) -> &'static str {
        match self.extractor {
            Kind::Exact => "exact",
            Kind::Number => "number",
            Kind::Choice => "choice",
            Kind::Regex => "regex",
        }
    }

    /// Results may take the place of earlier ones, and of nothing else.
    fn check_out(&self) -> Result<()> {
        match self.earlier()?.into_iter().find(|(_, is_result)| !is_result) {
            None => Ok(()),
            Some((name, _)) => Err(Error::config(format!("the folder holds '{name}', which is no earlier result"))
                .file(&self.out)
                .help("name a new folder with --out")),
        }
    }

    /// The names in the folder of the results, and whether each is a result's.
    fn earlier(&self) -> Result<Vec<(String, bool)>> {
        let entries = match std::fs::read_dir(&self.out) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io("list the folder", &self.out, &e)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| Error::io("list the folder", &self.out, &e))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_samples = name.starts_with("samples_") && name.ends_with(".jsonl");
            // A killed program's temporaries, too.
            found.push((name.clone(), name == RESULTS || is_samples || name.ends_with(".tmp")));
        }
        Ok(found)
    }

    fn write(&self, report: &Report) -> Result<()> {
        let unwritable = |e| Error::run(format!("the results cannot be written as JSON: {e}"));
        // Earlier samples would be taken for those of these results, which come last.
        for (name, is_result) in self.earlier()? {
            if is_result {
                let path = self.out.join(name);
                std::fs::remove_file(&path).map_err(|e| Error::io("remove", &path, &e))?;
            }
        }
        for (name, samples) in report.samples() {
            let mut text = String::new();
            for sample in samples {
                text += &serde_json::to_string(sample).map_err(unwritable)?;
                text.push('\n');
            }
            write_atomic(self.out.join(name), text)?;
        }
        let text = serde_json::to_string_pretty(&report.json()).map_err(unwritable)?;
        write_atomic(self.out.join(RESULTS), text + "\n")
    }
}

fn temperature(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(t) if t > 0.0 && t <= 100.0 => Ok(t),
        _ => Err("expected a number above 0 and at most 100; for greedy answers give --greedy".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(p) if p > 0.0 && p <= 1.0 => Ok(p),
        _ => Err("expected a number above 0 and at most 1".to_owned()),
    }
}
