//! A preference loss by name, as an objective: DPO and its relatives.
//!
//! Used as `[objective] plugin = "builtin:preference-loss"` it takes the place of the objective of any `[regularizer]`,
//! whose C and weights it keeps; used as the `[regularizer]` itself it labels every pair with C = 1 and weight 1, so
//! there "cream" and "signed-weight" are DPO.
//!
//! The losses are those of [`PreferenceLoss`], where formulas and sources stand: dpo (2305.18290), cream (2410.12735),
//! ipo, ipo-sequence (2310.12036), hinge (2305.10425), robust (2403.00409), simpo (2405.14734), orpo (2403.07691),
//! sppo-hard (2405.00675), signed-weight. Simpo and orpo do not look at the reference. `nll-weight` α adds
//! −α log π_θ(y⁺) / |y⁺| times the pair's weight to any of them (iterative RPO, 2404.19733, eq. 1), except to orpo, whose
//! first term it is.
//!
//! Worked example: β = 0.1, log-ratios r⁺ = 4 and r⁻ = −6, so z = 1, with 2 tokens in each response and
//! log π_θ(y⁺) = −3. dpo: −log σ(1) = 0.313; with α = 0.2 it is 0.313 + 0.2 · 1.5 = 0.613. hinge: max(0, 1 − 1) = 0.
//! ipo-sequence: (10 − 5)² = 25; ipo, per token: (5 − 5)² = 0. sppo-hard: (4 − 5)² + (−6 + 5)² = 2.

use creamery_plugin::objective::{PreferenceLoss, add_nll};
use creamery_plugin::params::{out_of_range, parse};
use creamery_plugin::{Labels, ObjectiveBatch, ObjectiveValue, PluginError, Records, Regularizer, consistency};
use serde::Deserialize;

/// The regularizer, with an objective of its own.
pub struct Loss {
    loss: PreferenceLoss,
    nll_weight: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Params {
    loss: Name,
    label_smoothing: Option<f64>,
    gamma: Option<f64>,
    nll_weight: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Name {
    Dpo,
    Cream,
    Ipo,
    IpoSequence,
    Hinge,
    Robust,
    Simpo,
    Orpo,
    SppoHard,
    SignedWeight,
}

impl Default for Params {
    fn default() -> Self {
        Params { loss: Name::Dpo, label_smoothing: None, gamma: None, nll_weight: 0.0 }
    }
}

impl Regularizer for Loss {
    fn new(params: &str) -> Result<Self, PluginError> {
        let params: Params = parse(params)?;
        check(&params)?;
        let smoothing = |default: f64| params.label_smoothing.unwrap_or(default);
        let loss = match params.loss {
            Name::Dpo => PreferenceLoss::Dpo { label_smoothing: smoothing(0.0) },
            Name::Cream => PreferenceLoss::Cream,
            Name::Ipo => PreferenceLoss::Ipo,
            Name::IpoSequence => PreferenceLoss::IpoSequence,
            Name::Hinge => PreferenceLoss::Hinge,
            Name::Robust => PreferenceLoss::Robust { label_smoothing: smoothing(0.1) },
            Name::Simpo => PreferenceLoss::SimPo { gamma: params.gamma.unwrap_or(1.0) },
            Name::Orpo => PreferenceLoss::Orpo,
            Name::SppoHard => PreferenceLoss::SppoHard,
            Name::SignedWeight => PreferenceLoss::SignedWeight,
        };
        Ok(Loss { loss, nll_weight: params.nll_weight })
    }

    fn label(&self, records: &Records) -> Result<Labels, PluginError> {
        let pairs = records.pairs.len();
        let metrics = consistency::report(records)?;
        Ok(Labels { consistency: vec![1.0; pairs], weights: vec![1.0; pairs], metrics, ..Labels::default() })
    }

    fn objective(&self, batch: &ObjectiveBatch) -> Result<ObjectiveValue, PluginError> {
        let mut value = self.loss.evaluate(batch);
        if self.nll_weight > 0.0 {
            add_nll(&mut value, batch, self.nll_weight);
        }
        Ok(value)
    }
}

fn check(params: &Params) -> Result<(), PluginError> {
    let only_for = |name: &str, set: bool, fits: bool, losses: &str| match set && !fits {
        true => Err(PluginError::new(format!(
            "parameter '{name}' has no meaning for this loss, only for {losses}: remove it, or choose another loss"
        ))),
        false => Ok(()),
    };
    let smooths = matches!(params.loss, Name::Dpo | Name::Robust);
    only_for("label-smoothing", params.label_smoothing.is_some(), smooths, "\"dpo\" and \"robust\"")?;
    only_for("gamma", params.gamma.is_some(), params.loss == Name::Simpo, "\"simpo\"")?;
    only_for(
        "nll-weight",
        params.nll_weight != 0.0,
        params.loss != Name::Orpo,
        "losses other than \"orpo\", which has it",
    )?;
    if let Some(e) = params.label_smoothing.filter(|e| !(0.0..0.5).contains(e)) {
        return Err(out_of_range("label-smoothing", e, "at least 0 and below 0.5"));
    }
    if let Some(gamma) = params.gamma.filter(|gamma| !(*gamma >= 0.0 && gamma.is_finite())) {
        return Err(out_of_range("gamma", gamma, "at least 0"));
    }
    if !(params.nll_weight >= 0.0 && params.nll_weight.is_finite()) {
        return Err(out_of_range("nll-weight", params.nll_weight, "at least 0"));
    }
    Ok(())
}

creamery_plugin::export_plugin! {
    kind: regularizer,
    type: Loss,
    name: "preference-loss",
    summary: "A preference loss by name: dpo, cream, ipo, hinge, robust, simpo, orpo, sppo-hard and others.",
    schema: include_str!("../params.schema.json"),
}

#[cfg(test)]
mod tests;
