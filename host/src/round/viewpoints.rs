//! Who judges in a round: a judge of the run, with one of the models behind its slot "judge".

use serde_json::{Value, json};

use super::models::{CHECKPOINT, ModelRef};
use super::setup::{LoadedViewpoint, Run};
use crate::config::{EmaConfig, ModelName};
use crate::error::{Error, Result};
use crate::model::{Checkpoint, copy_tokenizer};

/// A viewpoint of one round.
#[derive(Clone, Debug)]
pub struct Viewpoint {
    pub name: String,
    /// In [`Run::judges`].
    pub judge: usize,
    pub model: ModelRef,
}

/// The viewpoints of round `t`, "current" first.
pub fn of_round(run: &mut Run, t: usize) -> Result<Vec<Viewpoint>> {
    let mut viewpoints = Vec::with_capacity(run.viewpoints.len());
    for v in 0..run.viewpoints.len() {
        let LoadedViewpoint { name, judge, model, external } = &run.viewpoints[v];
        let (name, judge, named, external) = (name.clone(), *judge, model.clone(), external.clone());
        viewpoints.push(Viewpoint { name, judge, model: model_of(run, t, &named, external.as_ref())? });
    }
    Ok(viewpoints)
}

/// The model of a name in round `t`; `external` is that of a path.
pub fn model_of(run: &mut Run, t: usize, name: &ModelName, external: Option<&ModelRef>) -> Result<ModelRef> {
    match (external, name) {
        (Some(model), _) => Ok(model.clone()),
        // Where there is no such model yet it is M0, as M_{t−1} is in the first round.
        (None, ModelName::Back(k)) => Ok(run.policies[t.saturating_sub(*k)].clone()),
        (None, ModelName::Numbered(k)) => Ok(run.policies[*k].clone()),
        (None, ModelName::Ema) => match run.config.ema.clone() {
            Some(config) => ema(run, t, &config),
            None => Err(Error::run("no [ema] for the model \"ema\"")),
        },
        (None, ModelName::Path(path)) => Err(Error::run("a model that is named was not loaded").file(path)),
    }
}

/// E_t = decay · E_{t−1} + (1 − decay) · M_t, from E_0 = M0.
fn ema(run: &mut Run, t: usize, config: &EmaConfig) -> Result<ModelRef> {
    while run.averages.len() <= t {
        let s = run.averages.len();
        let (mean, policy) = (run.averages[s - 1].clone(), run.policies[s].clone());
        let next = average(run, s, config, &mean, &policy)?;
        run.averages.push(next);
    }
    Ok(run.averages[t].clone())
}

/// What decides E_t: the digests of E_{t−1} and M_t.
pub fn average_key(mean: &str, model: &str, config: &EmaConfig) -> Value {
    json!({"mean": mean, "model": model, "decay": config.decay})
}

fn average(run: &mut Run, t: usize, config: &EmaConfig, mean: &ModelRef, policy: &ModelRef) -> Result<ModelRef> {
    // The mean of a model and itself is that model, without rounding.
    if mean.id == policy.id {
        return Ok(mean.clone());
    }
    let key = average_key(&mean.id, &policy.id, config);
    let artifact = run.stage(&format!("round {t}: average the models"), "ema", key, |run, folder| {
        let to = folder.join(CHECKPOINT);
        Checkpoint::open(&mean.path)?.save_mean(config.decay as f32, &mut Checkpoint::open(&policy.path)?, &to)?;
        copy_tokenizer(&run.initial.path, &to)
    })?;
    ModelRef::of_artifact(&artifact, &run.initial)
}
