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
//! # Length penalty
//! With `length-penalty` = α the score is r(x, y) − α·|y|, |y| in tokens: the length-regularized reward of DICE
//! (Chen et al., arXiv 2406.09760, section on length-regularized reward shaping). With "auto", α ≥ 0 is the one for
//! which the chosen and the rejected responses (best and worst by the penalized score) are equally long on average
//! over the set; see [`length`]. Each viewpoint has its own α. 0, the default, changes no bit.
//!
//! Worked example: two responses with r = 2, 1 and 10, 4 tokens. At α = 0.1 they score 1 and 0.6; above α = 1/6 the
//! shorter one is the better.
//!
//! # In the released code
//! The code released with CREAM uses a mean there and sums elsewhere, so that in the first round the consistency
//! mixes a length effect with disagreement. `reference-compat = "mixed"` does the same.

mod length;

use creamery_plugin::params::{out_of_range, parse};
use creamery_plugin::{
    Answer, Groups, Judge, JudgeContext, JudgeReport, Logp, Measure, PluginError, Query, Score, Slot, Step,
};
use length::Lengths;
use serde::Deserialize;

/// The judge; [`ImplicitReward::new`](Judge::new) takes the parameters that `params.schema.json` describes.
pub struct ImplicitReward {
    params: Params,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Params {
    score: Formula,
    normalization: Normalization,
    when_reference_is_judge: Fallback,
    /// The slot of the log-ratio's reference.
    reference: String,
    reference_compat: Compat,
    length_penalty: Penalty,
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
enum Compat {
    None,
    Mixed,
}

/// α of the length penalty.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(untagged, expecting = "`length-penalty` must be a number or \"auto\"")]
enum Penalty {
    Fixed(f64),
    Found(Auto),
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Auto {
    Auto,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            score: Formula::LogRatio,
            normalization: Normalization::Sum,
            when_reference_is_judge: Fallback::Likelihood,
            reference: "reference".into(),
            reference_compat: Compat::None,
            length_penalty: Penalty::Fixed(0.0),
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
        if let Penalty::Fixed(alpha) = params.length_penalty
            && !(alpha >= 0.0 && alpha.is_finite())
        {
            return Err(out_of_range("length-penalty", alpha, "a finite number of at least 0, or \"auto\""));
        }
        if params.reference.is_empty() || params.reference == "judge" {
            let found = format!("{:?}", params.reference);
            return Err(out_of_range("reference", found, "the name of another model slot than the judge's"));
        }
        Ok(ImplicitReward { params })
    }

    fn step(&self, context: &JudgeContext, groups: &Groups, answers: &[Vec<Answer>]) -> Result<Step, PluginError> {
        let count = groups.responses.len();
        let plan = self.plan(context)?;
        let slots = self.slots(plan);
        if count == 0 || slots.is_empty() || !answers.is_empty() {
            return Ok(Step::Scores(self.penalized(groups, self.rewards(plan, groups, answers)?).0));
        }
        let all: Vec<u32> = (0..count as u32).collect();
        let ask = |slot: &&str| Query::ResponseLogps { slot: (*slot).into(), responses: all.clone() };
        Ok(Step::Ask(slots.iter().map(ask).collect()))
    }

    /// With `length-penalty = "auto"`: `length_penalty`, the α of this call, and `length_difference`, tokens of the
    /// best response less those of the worst one, a mean over the groups that have both.
    fn report(
        &self,
        context: &JudgeContext,
        groups: &Groups,
        answers: &[Vec<Answer>],
    ) -> Result<JudgeReport, PluginError> {
        if self.params.length_penalty != Penalty::Found(Auto::Auto) || groups.is_empty() {
            return Ok(JudgeReport::default());
        }
        let rewards = self.rewards(self.plan(context)?, groups, answers)?;
        let (_, alpha, difference) = self.penalized(groups, rewards);
        let (sum, count) = difference;
        let measures = vec![
            Measure { name: "length_penalty".into(), sum: alpha, count: 1 },
            Measure { name: "length_difference".into(), sum, count },
        ];
        Ok(JudgeReport { measures, pairs: Vec::new() })
    }
}

/// A response's reward and its number of tokens, or why there is none.
type Reward = Result<(f64, u32), String>;

impl ImplicitReward {
    /// The slots that are asked, none where the answer is known.
    fn slots(&self, plan: Plan) -> Vec<&str> {
        match plan {
            Plan::Abstain => vec![],
            Plan::Likelihood(_) => vec!["judge"],
            Plan::Ratio => vec!["judge", &self.params.reference],
        }
    }

    /// `[R]` the rewards without the penalty.
    fn rewards(&self, plan: Plan, groups: &Groups, answers: &[Vec<Answer>]) -> Result<Vec<Reward>, PluginError> {
        let count = groups.responses.len();
        let slots = self.slots(plan);
        if count == 0 {
            return Ok(Vec::new());
        }
        if slots.is_empty() {
            let reason = "the viewpoint's model is the reference: its log-ratio is 0 for every response";
            return Ok(vec![Err(reason.into()); count]);
        }
        let answers = answers.first().map_or(&[][..], Vec::as_slice);
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
                    return Ok(vec![Err(reason); count]);
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
        let reward = |i: usize| match plan {
            Plan::Likelihood(normalization) => likelihood(columns[0][i], normalization),
            Plan::Ratio | Plan::Abstain => ratio(columns[0][i], columns[1][i], self.params.normalization),
        };
        Ok((0..count).map(|i| reward(i).map(|r| (r, columns[0][i].tokens))).collect())
    }

    /// `[R]` the scores, α, and the sum and number of the differences in length of best and worst.
    fn penalized(&self, groups: &Groups, rewards: Vec<Reward>) -> (Vec<Score>, f64, (f64, u64)) {
        let (alpha, difference) = match self.params.length_penalty {
            Penalty::Fixed(alpha) => (alpha, (0.0, 0)),
            Penalty::Found(Auto::Auto) => {
                let known: Vec<_> = rewards.iter().map(|r| r.as_ref().ok().copied()).collect();
                let lengths = Lengths::new(groups, &known);
                let alpha = lengths.equalize();
                (alpha, lengths.difference(alpha))
            }
        };
        let score = |reward: Reward| match reward {
            // Not even a zero changes its sign.
            Ok((r, _)) if alpha == 0.0 => Score::Value(r),
            Ok((r, tokens)) => match length::penalized(r, tokens, alpha) {
                score if score.is_finite() => Score::Value(score),
                _ => Score::Abstain("the length penalty is too large for a number".into()),
            },
            Err(reason) => Score::Abstain(reason),
        };
        (rewards.into_iter().map(score).collect(), alpha, difference)
    }

    fn plan(&self, context: &JudgeContext) -> Result<Plan, PluginError> {
        let judge = slot(context, "judge")?;
        if self.params.score == Formula::MeanLikelihood {
            return Ok(Plan::Likelihood(Normalization::Mean));
        }
        if judge.model != slot(context, &self.params.reference)?.model {
            return Ok(Plan::Ratio);
        }
        Ok(match self.params.when_reference_is_judge {
            Fallback::Likelihood => Plan::Likelihood(self.params.normalization),
            Fallback::MeanLikelihood => Plan::Likelihood(Normalization::Mean),
            Fallback::SumLikelihood => Plan::Likelihood(Normalization::Sum),
            Fallback::Abstain => Plan::Abstain,
        })
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
    features: ["whole-set:length-penalty=auto"],
}

#[cfg(test)]
mod tests;
