//! The checks of judges.

use creamery_plugin::{JudgeContext, Score, Slot, Step};

use super::case::{Case, count};
use super::metered::Metered;
use super::script::Script;
use super::suite::{BY_POSITION, FIRST, Suite, TIES, is_refusal, told};
use super::{Options, Reload, inputs};
use crate::error::Error;
use crate::plugins::JudgePlugin;

/// Groups of one call, as in a run.
const BATCH: usize = 512;

/// A score may be a sum over the other responses: in another order its last bits may differ.
const SUMS: f64 = 1e-9;

struct Subject<'a> {
    judge: Metered<dyn JudgePlugin>,
    reload: &'a mut Reload<'a, dyn JudgePlugin>,
    context: JudgeContext,
    steps: usize,
}

/// What a judge made of some groups.
#[derive(Default)]
struct Judged {
    /// `[R]`
    scores: Vec<Score>,
    queries: usize,
}

pub(super) fn run(
    judge: Metered<dyn JudgePlugin>,
    reload: &mut Reload<'_, dyn JudgePlugin>,
    options: &Options,
) -> Suite {
    let slot = |name: &String| Slot { name: name.clone(), model: format!("model of {name}") };
    let slots = options.slots.iter().map(slot).collect();
    let context = JudgeContext { round: 1, viewpoint: "current".to_owned(), slots };
    let info = judge.info();
    let (whole, by_position) = (info.wants_whole_set(), info.descriptor.has_feature("by-position"));
    let mut subject = Subject { judge, reload, context, steps: options.steps };
    let mut suite = Suite::default();
    let subject = &mut subject;

    suite.check(FIRST, inputs::ordinary(), |case| {
        let judged = subject.judged(case, Script::Ordinary)?;
        let scored = judged.scores.iter().filter(|s| s.value().is_some()).count();
        let of = judged.scores.len();
        Ok(format!("{}: {scored} of {of} scored, {}", size(case), queries(judged.queries)))
    });
    suite.check("repeat", inputs::ordinary(), |case| {
        let first = subject.judged(case, Script::Ordinary)?;
        let again = subject.judged(case, Script::Ordinary)?;
        same(case, &first.scores, &again.scores, "the second time")?;
        let mut other = (subject.reload)().map_err(|e| told(&e))?;
        let reloaded = judged(&mut other, &subject.context, subject.steps, case, Script::Ordinary);
        same(case, &first.scores, &reloaded.map_err(|e| told(&e))?.scores, "from a plugin loaded again")?;
        Ok("twice, and from a plugin loaded again: the same bits".to_owned())
    });
    let reason = "the feature whole-set says that scores depend on all groups of a call";
    if whole {
        suite.skip("batches", reason);
        suite.skip("order", reason);
    } else {
        suite.check("batches", inputs::ordinary(), |case| {
            let whole = subject.judged(case, Script::Ordinary)?.scores;
            for of in [1, 2, 5] {
                let mut parts = Vec::new();
                for start in (0..case.groups.len()).step_by(of) {
                    let part = case.select(start..(start + of).min(case.groups.len()));
                    parts.extend(subject.judged(&part, Script::Ordinary)?.scores);
                }
                same(case, &whole, &parts, &format!("in calls of {}", count(of, "group")))?;
            }
            Ok("in calls of 1, 2, 5 and all groups: the same bits".to_owned())
        });
        suite.check("order", inputs::ordinary(), |case| {
            let forwards = subject.judged(case, Script::Ordinary)?.scores;
            let backwards = subject.judged(&case.select((0..case.groups.len()).rev()), Script::Ordinary)?.scores;
            let mut turned = Vec::new();
            let mut end = backwards.len();
            for group in &case.groups {
                let start = end - group.responses.len();
                turned.extend_from_slice(&backwards[start..end]);
                end = start;
            }
            same(case, &forwards, &turned, "with the groups in reverse order")?;
            Ok("groups in reverse order: the same bits".to_owned())
        });
    }
    if by_position {
        suite.skip("responses-order", BY_POSITION);
    } else {
        suite.check("responses-order", inputs::without_ties(), |case| {
            if case.has_ties() {
                // Of the inputs that are made smaller.
                return Ok(TIES.to_owned());
            }
            let forwards = subject.judged(case, Script::Ordinary)?.scores;
            let backwards = subject.judged(&case.turned_within(), Script::Ordinary)?.scores;
            close(case, &forwards, &backwards)?;
            Ok("responses of each group in reverse order: the same scores, to rounding".to_owned())
        });
    }
    let cases = [
        ("no-groups", inputs::empty()),
        ("one-group", inputs::single_group()),
        ("one-response", inputs::single_response()),
        ("many-groups", inputs::many(options.many)),
        ("unicode", inputs::unicode()),
        ("empty-texts", inputs::empty_texts()),
        ("long-texts", inputs::long_texts()),
        ("identical", inputs::ties()),
        ("cut-off", inputs::cut_off()),
    ];
    for (name, input) in cases {
        suite.check(name, input, |case| {
            let step = if whole { case.groups.len().max(1) } else { BATCH };
            let mut asked = 0;
            // No groups are a call too.
            for start in (0..case.groups.len().max(1)).step_by(step) {
                let part = case.select(start..(start + step).min(case.groups.len()));
                asked += subject.judged(&part, Script::Ordinary)?.queries;
            }
            Ok(format!("{}, {}", size(case), queries(asked)))
        });
    }
    suite.check("failed-answers", inputs::ordinary(), |case| {
        let judged = subject.judged(case, Script::Fails)?;
        if judged.queries == 0 {
            return Ok("it asks nothing".to_owned());
        }
        match judged.scores.iter().position(|s| s.value().is_some()) {
            Some(r) => Err(format!(
                "every query failed, but response {r} has the score {:?}; a judge without an answer must abstain",
                judged.scores[r].value().unwrap_or_default()
            )),
            None => Ok("every query fails: every response abstains".to_owned()),
        }
    });
    suite.check("some-failed-answers", inputs::ordinary(), |case| {
        let judged = subject.judged(case, Script::SomeFail)?;
        let scored = judged.scores.iter().filter(|s| s.value().is_some()).count();
        Ok(format!("about every other query fails: {scored} of {} scored", judged.scores.len()))
    });
    suite.check("odd-answers", inputs::ordinary(), |case| {
        match judged(&mut subject.judge, &subject.context, subject.steps, case, Script::Odd) {
            Ok(judged) => {
                let scored = judged.scores.iter().filter(|s| s.value().is_some()).count();
                Ok(format!("answers that are not finite, texts without sense: {scored} scored, all finite"))
            }
            Err(e) if is_refusal(&e) => Ok(format!("it says: {}", told(&e))),
            Err(e) => Err(told(&e)),
        }
    });
    suite
}

impl Subject<'_> {
    fn judged(&mut self, case: &Case, script: Script) -> Result<Judged, String> {
        judged(&mut self.judge, &self.context, self.steps, case, script).map_err(|e| told(&e))
    }
}

/// Lets a judge ask until it gives scores and a report, all of which are checked by the loader.
fn judged(
    judge: &mut Metered<dyn JudgePlugin>,
    context: &JudgeContext,
    steps: usize,
    case: &Case,
    script: Script,
) -> Result<Judged, Error> {
    let groups = case.groups();
    let (mut answers, mut queries) = (Vec::new(), 0);
    for _ in 0..=steps {
        match judge.step(context, &groups, &answers)? {
            Step::Ask(asked) => {
                queries += asked.len();
                answers.push(asked.iter().map(|query| script.answer(query, &groups)).collect::<Vec<_>>());
            }
            Step::Scores(scores) => {
                judge.report(context, &groups, &answers)?;
                return Ok(Judged { scores, queries });
            }
        }
    }
    // The loader counts too, so this is not reached.
    Err(Error::plugin(format!("no scores after {steps} steps")))
}

/// Whether scores have the same bits. Of abstentions the reasons may differ: they may name a response by number.
fn same(case: &Case, expected: &[Score], found: &[Score], when: &str) -> Result<(), String> {
    let bits = |score: &Score| score.value().map(f64::to_bits);
    let differs = expected.iter().zip(found).position(|(a, b)| bits(a) != bits(b));
    let Some(r) = differs else { return Ok(()) };
    let mut first = 0;
    for group in &case.groups {
        if r < first + group.responses.len() {
            let (id, r, a, b) = (&group.id, r - first, shown(&expected[r]), shown(&found[r]));
            return Err(format!("response {r} of group {id:?} scores {a}, but {b} {when}"));
        }
        first += group.responses.len();
    }
    Ok(())
}

/// Whether scores are the same but for rounding, the second ones of the responses of each group in reverse order.
fn close(case: &Case, forwards: &[Score], backwards: &[Score]) -> Result<(), String> {
    let mut start = 0;
    for group in &case.groups {
        let end = start + group.responses.len();
        for (i, (a, b)) in forwards[start..end].iter().zip(backwards[start..end].iter().rev()).enumerate() {
            let alike = match (a.value(), b.value()) {
                (Some(a), Some(b)) => (a - b).abs() <= SUMS * a.abs().max(b.abs()).max(1.0),
                (a, b) => a.is_some() == b.is_some(),
            };
            if !alike {
                return Err(format!(
                    "response {i} of group {:?} scores {}, but {} with the responses of each group in reverse order; if \
                     that is meant, say so with the feature \"by-position\"",
                    group.id,
                    shown(a),
                    shown(b)
                ));
            }
        }
        start = end;
    }
    Ok(())
}

fn shown(score: &Score) -> String {
    score.value().map_or_else(|| "nothing".to_owned(), |v| format!("{v:?}"))
}

fn queries(n: usize) -> String {
    if n == 1 { "1 query".to_owned() } else { format!("{n} queries") }
}

fn size(case: &Case) -> String {
    super::case::Smaller::size(case)
}
