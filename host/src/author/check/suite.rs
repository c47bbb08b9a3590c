//! Runs checks, keeps their results, and makes failing inputs smaller.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::case::Smaller;
use crate::error::Error;
use crate::plugins::BROKEN;

/// What came of a check.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// With what was tried.
    Passed(String),
    Failed(Failed),
    /// With the reason.
    Skipped(String),
}

/// A check that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failed {
    /// What the plugin did.
    pub found: String,
    /// "1 group, 2 responses": the size of the smallest input that was found to make it do that.
    pub size: String,
    /// That input.
    pub input: Value,
}

/// A check by name, and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub name: &'static str,
    pub outcome: Outcome,
}

/// The first check of every kind: where it fails, the others would only say the same again.
pub(super) const FIRST: &str = "ordinary";

/// Why the order of responses is not compared.
pub(super) const BY_POSITION: &str = "the feature by-position says that the order of a group's responses may matter";

/// Where it does not say anything either way.
pub(super) const TIES: &str = "responses tie, so their order may decide";

/// The largest effort to make an input smaller. The clock decides only how small it gets.
const MAX_TRIES: usize = 1000;
const MAX_TIME: Duration = Duration::from_secs(10);

/// The checks of one plugin.
#[derive(Default)]
pub(super) struct Suite {
    pub findings: Vec<Finding>,
    stopped: bool,
}

impl Suite {
    /// Runs `test` on `input`: `Ok` says what was tried, `Err` what is wrong. Where it fails, it runs on smaller inputs.
    pub(super) fn check<I: Smaller>(
        &mut self,
        name: &'static str,
        input: I,
        mut test: impl FnMut(&I) -> Result<String, String>,
    ) {
        if self.stopped {
            return self.skip(name, &format!("the check '{FIRST}' fails"));
        }
        let outcome = match test(&input) {
            Ok(tried) => Outcome::Passed(tried),
            Err(found) => {
                self.stopped = name == FIRST;
                let (input, found) = shrink(input, found, test);
                let size = input.size();
                Outcome::Failed(Failed { found, size, input: serde_json::to_value(&input).unwrap_or_default() })
            }
        };
        self.findings.push(Finding { name, outcome });
    }

    pub(super) fn skip(&mut self, name: &'static str, why: &str) {
        self.findings.push(Finding { name, outcome: Outcome::Skipped(why.to_owned()) });
    }
}

/// What an error is about, without the numbers in it.
fn class(found: &str) -> String {
    found.chars().filter(|c| !c.is_ascii_digit() && !matches!(c, '.' | '-')).collect()
}

/// The smallest input found on which `test` still fails in the same way, and how it fails there.
fn shrink<I: Smaller>(input: I, found: String, mut test: impl FnMut(&I) -> Result<String, String>) -> (I, String) {
    let wanted = class(&found);
    let (mut input, mut found) = (input, found);
    let (start, mut tries) = (Instant::now(), 0);
    'smaller: loop {
        for smaller in input.smaller() {
            if tries == MAX_TRIES || start.elapsed() > MAX_TIME {
                return (input, found);
            }
            tries += 1;
            if let Err(why) = test(&smaller)
                && class(&why) == wanted
            {
                (input, found) = (smaller, why);
                continue 'smaller;
            }
        }
        return (input, found);
    }
}

/// An error in one line, without file and context, which are the same for all checks.
pub(super) fn told(error: &Error) -> String {
    let text = error.message();
    // "plugin 'x' 1.0.0 (component): step: …": the title is said once, above.
    let text = text.split_once("): ").map_or(text, |(_, rest)| rest);
    text.replace('\n', " ")
}

/// Whether the plugin itself said that it cannot do this, in place of breaking.
pub(super) fn is_refusal(error: &Error) -> bool {
    error.help_text().is_none() && !error.message().contains("panicked: ")
}

/// What comes of inputs that the host never gives: anything but the plugin's end. What is not a number goes in, so it may
/// come out, where the loader stops it.
pub(super) fn survives_nonsense<T>(result: Result<T, Error>) -> Result<String, String> {
    let how = match result {
        Ok(_) => "a valid answer",
        Err(e) if is_refusal(&e) => "refused",
        Err(e) if e.help_text().is_some_and(|help| help.starts_with(BROKEN)) => "what comes out is stopped",
        Err(e) => return Err(told(&e)),
    };
    Ok(format!("numbers that the host never gives: {how}"))
}
