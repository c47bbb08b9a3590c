//! The stages that a config will ask for, by the labels that they will have: only so that who watches sees what is to
//! come. The rounds themselves do not follow it.

use crate::config::{ModelName, RunConfig};

/// In their order. A stage that turns out to be needless, an average of equal models, is passed over later.
pub fn stages(config: &RunConfig) -> Vec<String> {
    let mut plan = Vec::new();
    plan.extend(config.sft.is_some().then(|| "sft".to_owned()));
    evaluation(config, "M0", &mut plan);
    if config.sft.is_some() {
        evaluation(config, "M1", &mut plan);
    }
    for t in 1..=config.rounds.count {
        round(config, t, &mut plan);
        evaluation(config, &format!("M{}", t + 1), &mut plan);
    }
    plan
}

fn round(config: &RunConfig, t: usize, plan: &mut Vec<String>) {
    let average = format!("round {t}: average the models");
    // It is made where it is first needed.
    let judges = config.viewpoints.iter().any(|v| v.model == ModelName::Ema);
    if judges {
        plan.push(average.clone());
    }
    let judging = |plan: &mut Vec<String>, end: &str| {
        plan.extend(config.viewpoints.iter().map(|v| format!("round {t}: judge as {}{end}", v.name)));
        plan.push(format!("round {t}: rank{end}"));
    };
    samples(config, &format!("round {t}: sample"), "", (!judges).then_some(average), plan);
    judging(plan, "");
    plan.push(format!("round {t}: regularize"));
    plan.push(format!("round {t}: train"));
    if config.eval.is_some() {
        samples(config, &format!("M{t}: sample"), EVALUATION, None, plan);
        judging(plan, EVALUATION);
        plan.push(format!("round {t}: ranking accuracy{EVALUATION}"));
    }
}

const EVALUATION: &str = ", for evaluation";

/// The policy's samples, and those of the other sources.
fn samples(config: &RunConfig, label: &str, end: &str, average: Option<String>, plan: &mut Vec<String>) {
    plan.push(format!("{label}{end}"));
    if config.sample.from.is_empty() {
        return;
    }
    for source in &config.sample.from {
        if source.model == ModelName::Ema {
            plan.extend(average.clone());
        }
        plan.push(format!("{label} from {}{end}", source.name));
    }
    plan.push(format!("{label}: merge{end}"));
}

fn evaluation(config: &RunConfig, model: &str, plan: &mut Vec<String>) {
    if config.eval.is_some() {
        plan.extend(["sample", "answer greedily", "compare"].map(|part| format!("{model}: {part}{EVALUATION}")));
    }
}
