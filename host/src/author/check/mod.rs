//! Whether a plugin keeps the contract: it is loaded as a run loads it and tried on ordinary and on awkward inputs. An
//! input that a check fails on is made smaller as long as the check fails.
//!
//! Judges get answers from a script, which depend on nothing but what is asked, so that no model is needed. What a
//! check expects follows from the contract and from the descriptor's features, never from a plugin's name:
//!
//! | feature | what it changes |
//! |---|---|
//! | `whole-set` (or `whole-set:PARAMETER=VALUE`, for that value) | scores of a judge may depend on all groups of a call: neither batches nor their order are compared |
//! | `by-position` | scores, ranks, pairs and labels may depend on the order of a group's responses where nothing ties |
//! | `needs-sources` | a ranker is always told which model drew each response |
//! | `c-mix` | the objective of a regularizer must be CREAM's to the bit |

mod case;
mod gradient;
mod inputs;
mod judge;
mod metered;
mod ranker;
mod regularizer;
mod script;
mod suite;

use serde_json::{Value, json};

use self::metered::{Meter, Metered};
pub use self::suite::{Failed, Finding, Outcome};
use super::{Load, Subject};
use crate::error::{Error, Result};
use crate::plugins::{Isolation, Limits, PluginInfo, Usage};
use crate::slots::OWN_NAMES;

/// What checks depend on besides the plugin.
pub struct Options {
    /// The model slots that a judge may ask.
    pub slots: Vec<String>,
    /// Names of models that responses may be from, besides "current" and "M1".
    pub sources: Vec<String>,
    /// How often a judge may ask.
    pub steps: usize,
    /// Groups of the check that is about their number.
    pub many: usize,
    /// Where the calls run that `load`'s plugin gets, as the report is to say; none where there is no choice.
    pub isolation: Option<Isolation>,
}

impl Default for Options {
    fn default() -> Self {
        let slots = OWN_NAMES.map(str::to_owned).into();
        Options { slots, sources: Vec::new(), steps: Limits::default().steps, many: 10_000, isolation: None }
    }
}

/// Loads a plugin once more.
type Reload<'a, P> = dyn FnMut() -> Result<Metered<P>> + 'a;

/// What came of all checks of a plugin.
pub struct Report {
    pub plugin: PluginInfo,
    pub findings: Vec<Finding>,
    /// [`Options::isolation`]
    pub isolation: Option<Isolation>,
    /// The most that one call used; none where it is not measured.
    pub most: Option<Usage>,
}

/// Checks the plugin that `load` gives; it is called a second time to see whether a plugin loaded again is the same.
///
/// # Errors
/// The plugin cannot be loaded. A check that fails is no error, but a finding.
pub fn check(load: &mut Load<'_>, options: &Options) -> Result<Report> {
    let meter = Meter::default();
    let other_kind = || Error::plugin("it was loaded as another kind of plugin than the first time");
    let (plugin, suite) = match load()? {
        Subject::Judge(judge) => {
            let info = judge.info().clone();
            let mut reload = || match load()? {
                Subject::Judge(judge) => Ok(Metered::new(judge, &meter)),
                _ => Err(other_kind()),
            };
            (info, judge::run(Metered::new(judge, &meter), &mut reload, options))
        }
        Subject::Ranker(ranker) => {
            let info = ranker.info().clone();
            let mut reload = || match load()? {
                Subject::Ranker(ranker) => Ok(Metered::new(ranker, &meter)),
                _ => Err(other_kind()),
            };
            (info, ranker::run(Metered::new(ranker, &meter), &mut reload, options))
        }
        Subject::Regularizer(regularizer) => {
            let info = regularizer.info().clone();
            let mut reload = || match load()? {
                Subject::Regularizer(regularizer) => Ok(Metered::new(regularizer, &meter)),
                _ => Err(other_kind()),
            };
            (info, regularizer::run(Metered::new(regularizer, &meter), &mut reload, options))
        }
    };
    Ok(Report { plugin, findings: suite.findings, isolation: options.isolation, most: meter.most() })
}

/// Of an input, this much is shown as text; `--json` has all of it.
const SHOWN: usize = 1500;

impl Report {
    pub fn failures(&self) -> usize {
        self.findings.iter().filter(|f| matches!(f.outcome, Outcome::Failed(_))).count()
    }

    /// A line for each check, and the inputs of those that failed.
    pub fn text(&self) -> String {
        let mut text = format!("{}, {}\n", self.plugin.title(), self.plugin.descriptor.kind);
        text += match self.isolation {
            Some(Isolation::Process) => "in a process of its own; --isolation none checks it in this one\n\n",
            Some(Isolation::None) => "in this process, which a crash of it would end\n\n",
            None => "\n",
        };
        let width = self.findings.iter().map(|f| f.name.len()).max().unwrap_or(0);
        for Finding { name, outcome } in &self.findings {
            let (result, note) = match outcome {
                Outcome::Passed(tried) => ("ok", tried.as_str()),
                Outcome::Failed(failed) => ("FAILED", failed.found.as_str()),
                Outcome::Skipped(why) => ("skipped", why.as_str()),
            };
            text += &format!("{name:width$}  {result:7}  {note}\n");
        }
        for Finding { name, outcome } in &self.findings {
            let Outcome::Failed(Failed { found, size, input }) = outcome else { continue };
            let input = input.to_string();
            let cut = input.floor_char_boundary(SHOWN);
            let rest = if cut < input.len() { " … (--json shows all of it)" } else { "" };
            text += &format!("\n{name}: {found}\n  smallest input found, {size}:\n  {}{rest}\n", &input[..cut]);
        }
        if let Some(Usage { fuel, memory_bytes }) = self.most {
            let memory = super::inspect::bytes(memory_bytes as u64);
            text += &format!("\nat most {fuel} instructions in one call, {memory} of memory\n");
        }
        text
    }

    /// One object; fields are only ever added.
    pub fn json(&self) -> Value {
        let checks: Vec<Value> = (self.findings.iter())
            .map(|Finding { name, outcome }| match outcome {
                Outcome::Passed(tried) => json!({"check": name, "result": "ok", "note": tried}),
                Outcome::Skipped(why) => json!({"check": name, "result": "skipped", "note": why}),
                Outcome::Failed(Failed { found, size, input }) => {
                    json!({"check": name, "result": "failed", "note": found, "size": size, "input": input})
                }
            })
            .collect();
        let d = &self.plugin.descriptor;
        json!({
            "kind": d.kind.name(), "name": d.name, "version": d.version, "form": d.artifact.name(),
            "digest": self.plugin.digest, "isolation": self.isolation.map(Isolation::name), "params": self.plugin.params,
            "checks": checks, "failed": self.failures(),
            "most-fuel": self.most.map(|u| u.fuel), "most-memory-bytes": self.most.map(|u| u.memory_bytes),
        })
    }
}
