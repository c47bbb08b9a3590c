//! The implicit reward: a model judges a response by how much more likely it finds it than a reference does.
//!
//! r(x, y) = log π(y|x) − log π_ref(y|x)
//!
//! summed over the response's tokens. π is the viewpoint's model (slot "judge"), π_ref the scoring reference.
//! Source: the reward that DPO implies (Rafailov et al., arXiv 2305.18290, eq. 5, without β and the partition
//! function, which do not change the order within a group), as CREAM uses it (arXiv 2410.12735, section 4).
//!
//! Worked example: a response of 4 tokens with log π = −6 and log π_ref = −8 scores −6 − (−8) = 2 as a sum and
//! 2 / 4 = 0.5 as a mean. As `score = "mean-likelihood"` it scores −6 / 4 = −1.5, and no reference is asked.
//!
//! # Where the viewpoint's model is the reference
//! Then r is 0 for every response, which orders nothing. It is so for the previous viewpoint in the first round,
//! with M0 as the reference. Such a viewpoint falls back on the log-likelihood under its own model, as
//! `when-reference-is-judge` says:
//! * "likelihood" (default): normalized as the log-ratio is, so that both viewpoints are sums over tokens
//!   (`normalization = "sum"`) or both means ("mean"). The two are then in the same units, but they still are
//!   different formulas: a summed likelihood falls with every token, so it prefers short responses, while in a
//!   log-ratio the reference cancels most of that. With "mean" neither depends much on length.
//! * "mean-likelihood", "sum-likelihood": this normalization, whatever the log-ratio has.
//! * "abstain": no scores from this viewpoint, so no consistency in this round.
//!
//! The code released with CREAM uses a mean there and sums elsewhere, so that in the first round the consistency
//! mixes a length effect with disagreement. `reference-compat = "mixed"` does the same.

use creamery_plugin::{
    Answer, Groups, Judge, JudgeContext, Logp, PluginError, Query, Score, Slot, Step, params::parse,
};
use serde::Deserialize;

/// The judge; [`ImplicitReward::new`](Judge::new) takes the parameters that `params.schema.json` describes.
pub struct ImplicitReward {
    params: Params,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Params {
    score: Formula,
    normalization: Normalization,
    when_reference_is_judge: Fallback,
    reference: Reference,
    reference_compat: Compat,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Formula {
    LogRatio,
    MeanLikelihood,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Normalization {
    Sum,
    Mean,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Fallback {
    Likelihood,
    MeanLikelihood,
    SumLikelihood,
    Abstain,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Reference {
    Reference,
    Initial,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Compat {
    None,
    Mixed,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            score: Formula::LogRatio,
            normalization: Normalization::Sum,
            when_reference_is_judge: Fallback::Likelihood,
            reference: Reference::Reference,
            reference_compat: Compat::None,
        }
    }
}

/// How this viewpoint scores in this call.
#[derive(Clone, Copy)]
enum Plan {
    /// log π − log π_ref
    Ratio,
    /// log π alone, normalized so
    Likelihood(Normalization),
    Abstain,
}

impl Judge for ImplicitReward {
    fn new(params: &str) -> Result<Self, PluginError> {
        let mut params: Params = parse(params)?;
        if params.reference_compat == Compat::Mixed {
            let contradicts = |name: &str, expected: &str| {
                PluginError::new(format!(
                    "reference-compat = \"mixed\" means score = \"log-ratio\", normalization = \"sum\" and \
                     when-reference-is-judge = \"mean-likelihood\": leave '{name}' out or set it to \"{expected}\""
                ))
            };
            if params.score != Formula::LogRatio {
                return Err(contradicts("score", "log-ratio"));
            }
            if params.normalization != Normalization::Sum {
                return Err(contradicts("normalization", "sum"));
            }
            if matches!(params.when_reference_is_judge, Fallback::SumLikelihood | Fallback::Abstain) {
                return Err(contradicts("when-reference-is-judge", "mean-likelihood"));
            }
            params.when_reference_is_judge = Fallback::MeanLikelihood;
        }
        Ok(ImplicitReward { params })
    }

    fn step(&self, context: &JudgeContext, groups: &Groups, answers: &[Vec<Answer>]) -> Result<Step, PluginError> {
        let count = groups.responses.len();
        let plan = self.plan(context)?;
        let slots: &[&str] = match plan {
            _ if count == 0 => return Ok(Step::Scores(Vec::new())),
            Plan::Abstain => {
                let reason = "the viewpoint's model is the reference: its log-ratio is 0 for every response";
                return Ok(Step::Scores(vec![Score::Abstain(reason.into()); count]));
            }
            Plan::Likelihood(_) => &["judge"],
            Plan::Ratio => &["judge", self.reference_name()],
        };
        let Some(answers) = answers.first() else {
            let all: Vec<u32> = (0..count as u32).collect();
            let ask = |slot: &&str| Query::ResponseLogps { slot: (*slot).into(), responses: all.clone() };
            return Ok(Step::Ask(slots.iter().map(ask).collect()));
        };
        if answers.len() != slots.len() {
            let n = answers.len();
            return Err(PluginError::new(format!("the host gave {n} answers to {} queries", slots.len())));
        }
        let mut columns = Vec::new();
        for (answer, slot) in answers.iter().zip(slots) {
            match answer {
                Answer::Logps(logps) if logps.len() == count => columns.push(logps),
                Answer::Failed(reason) => {
                    let reason = format!("no log-probabilities from the slot '{slot}': {reason}");
                    return Ok(Step::Scores(vec![Score::Abstain(reason); count]));
                }
                Answer::Logps(logps) => {
                    let n = logps.len();
                    return Err(PluginError::new(format!("the host gave {n} log-probabilities for {count} responses")));
                }
                _ => {
                    return Err(PluginError::new("the host did not answer with log-probabilities"));
                }
            }
        }
        let score = |i: usize| match plan {
            Plan::Ratio => ratio(columns[0][i], columns[1][i], self.params.normalization),
            Plan::Likelihood(normalization) => likelihood(columns[0][i], normalization),
            Plan::Abstain => unreachable!("has returned above"),
        };
        Ok(Step::Scores((0..count).map(|i| score(i).map_or_else(Score::Abstain, Score::Value)).collect()))
    }
}

impl ImplicitReward {
    fn plan(&self, context: &JudgeContext) -> Result<Plan, PluginError> {
        let judge = slot(context, "judge")?;
        if self.params.score == Formula::MeanLikelihood {
            return Ok(Plan::Likelihood(Normalization::Mean));
        }
        if judge.model != slot(context, self.reference_name())?.model {
            return Ok(Plan::Ratio);
        }
        Ok(match self.params.when_reference_is_judge {
            Fallback::Likelihood => Plan::Likelihood(self.params.normalization),
            Fallback::MeanLikelihood => Plan::Likelihood(Normalization::Mean),
            Fallback::SumLikelihood => Plan::Likelihood(Normalization::Sum),
            Fallback::Abstain => Plan::Abstain,
        })
    }

    fn reference_name(&self) -> &'static str {
        match self.params.reference {
            Reference::Reference => "reference",
            Reference::Initial => "initial",
        }
    }
}

fn slot<'a>(context: &'a JudgeContext, name: &str) -> Result<&'a Slot, PluginError> {
    context.slot(name).ok_or_else(|| {
        let known: Vec<&str> = context.slots.iter().map(|s| s.name.as_str()).collect();
        PluginError::new(format!("there is no model slot '{name}', only: {}", known.join(", ")))
    })
}

fn ratio(judge: Logp, reference: Logp, normalization: Normalization) -> Result<f64, String> {
    if judge.tokens != reference.tokens {
        let (j, r) = (judge.tokens, reference.tokens);
        return Err(format!("the judge sees {j} response tokens, the reference {r}: their sums do not compare"));
    }
    likelihood(Logp { sum: judge.sum - reference.sum, tokens: judge.tokens }, normalization)
}

fn likelihood(logp: Logp, normalization: Normalization) -> Result<f64, String> {
    if logp.tokens == 0 {
        return Err("the response has no tokens".into());
    }
    if !logp.sum.is_finite() {
        return Err("the log-probability is not finite".into());
    }
    Ok(match normalization {
        Normalization::Sum => logp.sum,
        Normalization::Mean => logp.sum / f64::from(logp.tokens),
    })
}

creamery_plugin::export_plugin! {
    kind: judge,
    type: ImplicitReward,
    name: "implicit-reward",
    summary: "Implicit (DPO) reward: log-ratio to a reference, or mean likelihood.",
    schema: include_str!("../params.schema.json"),
}

#[cfg(test)]
mod tests;
