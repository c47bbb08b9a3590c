//! The data of a run: prompts and questions as tokens. Plans read it as runs do, so that both name the same artifacts.

use serde_json::json;

use super::setup::{Prompt, encode};
use crate::config::{self, EvalConfig, RunConfig};
use crate::data::template::deep;
use crate::data::{self, ChatFormat, Extractor};
use crate::error::{Error, Result};
use crate::eval::Question;

/// All prompts, in a context of so many tokens.
pub fn prompts(config: &RunConfig, chat: &ChatFormat, context: usize) -> Result<Vec<Prompt>> {
    deep(|| {
        let mut prompts = Vec::new();
        for file in &config.data.prompts {
            for row in data::rows::read_prompts_from(file, prompts.len())? {
                prompts.push(encode(chat, context, row.id, row.prompt).map_err(|e| e.row(file, row.line))?);
            }
        }
        unique(prompts.iter(), "data.prompts")?;
        Ok(prompts)
    })?
}

/// The prompts of round `t`, from 1; there must be enough.
pub fn of_round<'p>(config: &RunConfig, prompts: &'p [Prompt], t: usize) -> &'p [Prompt] {
    match config.rounds.prompts_per_round {
        Some(n) => &prompts[(t - 1) * n..t * n],
        None => prompts,
    }
}

/// Fails if there are fewer prompts than the rounds need.
pub fn check_enough(config: &RunConfig, available: usize) -> Result<()> {
    let Some(per_round) = config.rounds.prompts_per_round else { return Ok(()) };
    let (rounds, needed) = (config.rounds.count, config.rounds.count.saturating_mul(per_round));
    if needed <= available {
        return Ok(());
    }
    Err(Error::config(format!(
        "{rounds} rounds of {per_round} prompts need {needed} prompts, data.prompts has {available}"
    ))
    .file(&config.file)
    .help("lower rounds.count or rounds.prompts-per-round, or leave prompts-per-round out to use all prompts in every round"))
}

/// The rows of evaluation, none without `[eval]`, and how their answers are read.
pub fn questions(config: &RunConfig, chat: &ChatFormat, context: usize) -> Result<(Vec<Question>, Extractor)> {
    deep(|| read_questions(config, chat, context))?
}

fn read_questions(config: &RunConfig, chat: &ChatFormat, context: usize) -> Result<(Vec<Question>, Extractor)> {
    let Some(settings) = &config.eval else { return Ok((Vec::new(), Extractor::Exact)) };
    let (mut eval, extractor) = (Vec::new(), extractor_of(settings)?);
    for file in &config.data.eval {
        for row in data::rows::read_evaluation_from(file, eval.len())? {
            let line = row.line;
            let at = |e: Error| e.row(file, line);
            let question = Question::new(row, &settings.suffix, chat, context).map_err(at)?;
            if settings.limit == 0 || eval.len() < settings.limit {
                question.check(&extractor).map_err(at)?;
            }
            eval.push(question);
        }
    }
    if settings.limit > 0 {
        eval.truncate(settings.limit);
    }
    unique(eval.iter().map(|e| &e.prompt), "data.eval")?;
    Ok((eval, extractor))
}

/// A digest of the answers.
pub fn answers_digest(questions: &[Question]) -> String {
    let answers: Vec<_> = questions.iter().map(|e| (&e.prompt.id, &e.answer, &e.task, &e.choices)).collect();
    blake3::hash(json!(answers).to_string().as_bytes()).to_hex().to_string()
}

fn extractor_of(settings: &EvalConfig) -> Result<Extractor> {
    data::answer::extractor(&match settings.extractor {
        config::Extractor::Exact => "exact".to_owned(),
        config::Extractor::Number => "number".to_owned(),
        config::Extractor::Choice => "choice".to_owned(),
        config::Extractor::Regex => format!("regex:{}", settings.pattern.as_deref().unwrap_or_default()),
    })
}

/// Ids must be unique over all files, since results are joined by id.
fn unique<'p>(mut prompts: impl Iterator<Item = &'p Prompt>, key: &str) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    match prompts.find(|p| !seen.insert(&p.id)) {
        Some(twice) => Err(Error::input(format!("the id '{}' stands in more than one file of {key}", twice.id))
            .help("give each row an id of its own")),
        None => Ok(()),
    }
}
