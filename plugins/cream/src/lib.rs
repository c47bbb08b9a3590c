//! CREAM: trust a preference as far as two viewpoints agree on the ranking it comes from.
//!
//! C_i = (τ_i + 1) / 2, with τ_i Kendall's rank correlation between the scores of the current and of the previous
//! model for the responses to prompt i. Average form: one C = mean_i C_i for the whole set. Sample form: C_i for
//! the pairs of prompt i. Bucketed form, between the two: the mean C_i of the prompts of one kind. The loss is the
//! C-mix,
//!
//! L = C · L_DPO(x, y⁺, y⁻) + (1 − C) · L_DPO(x, y⁻, y⁺).
//!
//! Source: CREAM, arXiv 2410.12735, section 4: consistency rate, and the consistency regularized loss (eq. 10).
//!
//! Worked example: five responses that the current model scores 5, 4, 3, 2, 1 and the previous one 4, 5, 3, 2, 1:
//! one of the ten pairs of responses is discordant, so τ = (9 − 1) / 10 = 0.8 and C = 0.9. At z = β · margin = 0
//! the loss is ln 2 for every C; its minimum lies at z* = logit(0.9) = 2.197 instead of DPO's infinity.
//!
//! τ is τ-b on the raw scores of the responses that both viewpoints scored, identical responses counted once.
//! Groups are joined to pairs by their number.
//!
//! Other measures of agreement take the place of τ: Spearman's ρ with C = (ρ + 1) / 2, top order (the same best and the
//! same worst response), and rank-biased overlap; in the example above 0.95, 0 (another best), and 0.5 with
//! p = 0.5. Other viewpoints than the first two may be compared, or all with the current one. A running average
//! over rounds smooths C in time.

use creamery_plugin::consistency::Rule;
use creamery_plugin::{Labels, PluginError, Records, Regularizer};

/// The regularizer; [`Cream::new`](Regularizer::new) takes the parameters that `params.schema.json` describes, which
/// are those of [`Rule`]. Its objective is the default one, [`c_mix`](creamery_plugin::objective::c_mix).
pub struct Cream {
    rule: Rule,
}

impl Regularizer for Cream {
    fn new(params: &str) -> Result<Self, PluginError> {
        Ok(Cream { rule: Rule::parse(params)? })
    }

    fn label(&self, records: &Records) -> Result<Labels, PluginError> {
        self.rule.label(records)
    }
}

creamery_plugin::export_plugin! {
    kind: regularizer,
    type: Cream,
    name: "cream",
    summary: "CREAM: trust pairs as far as viewpoints rank alike (Kendall and others), C-mix loss.",
    schema: include_str!("../params.schema.json"),
    features: ["c-mix"],
}

#[cfg(test)]
mod tests;
