//! The reference's log-probabilities: computed once, kept beside the checkpoints, and taken up again with them.

use std::path::Path;

use serde_json::{Value, json};

use super::super::steps::Digest;
use super::super::{PreferencePair, sequence_logp};
use crate::error::{Error, Result};
use crate::model::Decoder;
use crate::report::Progress;
use crate::round::models::ModelRef;
use crate::score::{ScoreGroup, check_group, group_logps};
use crate::store::write_atomic;

/// Pairs scored between two words on the progress.
const PAIRS: usize = 256;

/// Gives each pair its reference: what an earlier call left in `cache`, or what `load`ed or else the starting model
/// says.
pub(super) fn fill(
    mut pairs: Vec<PreferencePair>,
    load: impl FnOnce() -> Result<Option<Decoder>>,
    start: &Decoder,
    identity: &Value,
    cache: &Path,
    progress: &mut Progress,
) -> Result<Vec<PreferencePair>> {
    let digest = digest(&pairs);
    let sums = match read(cache, identity, &digest, pairs.len()) {
        Some(sums) => sums,
        None => {
            let loaded = load()?;
            let sums = score(loaded.as_ref().unwrap_or(start), &pairs, progress)?;
            write_atomic(cache, json!({ "key": key(identity, &digest, &sums), "sums": sums }).to_string())?;
            sums
        }
    };
    for (pair, [chosen, rejected]) in pairs.iter_mut().zip(sums) {
        (pair.reference_chosen, pair.reference_rejected) = (chosen, rejected);
    }
    Ok(pairs)
}

/// Another model to take the reference from: it must read the same tokens as the model that is trained, which is
/// `base`, or an adapter on it.
pub(super) fn load_like(named: &ModelRef, base: &ModelRef, model: &Decoder) -> Result<Decoder> {
    let (root, folder) = (named.root(), &named.path);
    let whole = match root.id == base.root().id {
        true => model.without_adapter(),
        false => Decoder::load(&root.path, model.device())?,
    };
    let reference = if named.base.is_some() { whole.load_adapter(folder)? } else { whole };
    let help = "the reference must have the model's tokenizer; use a checkpoint of the same family";
    let (theirs, ours) = (reference.config.vocab_size, model.config.vocab_size);
    if theirs != ours {
        return Err(Error::input(format!("the reference has a vocabulary of {theirs}, the model has {ours}"))
            .file(folder)
            .help(help));
    }
    let tokenizer = |folder: &Path| std::fs::read(folder.join("tokenizer.json")).ok();
    if let (Some(a), Some(b)) = (tokenizer(folder).or_else(|| tokenizer(&root.path)), tokenizer(&base.path))
        && a != b
    {
        return Err(Error::input("the reference has another tokenizer.json than the model").file(folder).help(help));
    }
    Ok(reference)
}

fn score(model: &Decoder, pairs: &[PreferencePair], progress: &mut Progress) -> Result<Vec<[f64; 2]>> {
    progress.start("reference");
    let started = std::time::Instant::now();
    let mut sums = Vec::with_capacity(pairs.len());
    for part in pairs.chunks(PAIRS) {
        let groups: Vec<ScoreGroup> =
            part.iter().map(|p| ScoreGroup { prompt: &p.prompt, responses: vec![&p.chosen, &p.rejected] }).collect();
        for (pair, group) in part.iter().zip(&groups) {
            let named = |what: String| {
                let what = what.replace("response 0", "chosen response").replace("response 1", "rejected response");
                Error::input(format!("pair '{}', {what}", pair.id))
            };
            check_group(model, group).map_err(named)?;
        }
        for (pair, logps) in part.iter().zip(group_logps(model, &groups)?) {
            let both = [sequence_logp(&logps[0]), sequence_logp(&logps[1])];
            if both.iter().any(|x| !x.is_finite()) {
                return Err(Error::run(format!("pair '{}': the reference's log-probabilities are {both:?}", pair.id))
                    .help("the model's weights are damaged or too large"));
            }
            sums.push(both);
        }
        progress.update(sums.len(), pairs.len());
    }
    progress.finish(false, started.elapsed().as_secs_f64());
    Ok(sums)
}

/// The numbers of an earlier call on the same things, if they are whole.
fn read(cache: &Path, identity: &Value, digest: &str, count: usize) -> Option<Vec<[f64; 2]>> {
    let text = std::fs::read_to_string(cache).ok()?;
    let kept: Value = serde_json::from_str(&text).ok()?;
    let sums: Vec<[f64; 2]> = serde_json::from_value(kept.get("sums")?.clone()).ok()?;
    (sums.len() == count && kept["key"] == key(identity, digest, &sums)).then_some(sums)
}

/// Of the tokens that are scored.
fn digest(pairs: &[PreferencePair]) -> String {
    let mut digest = Digest::default();
    pairs.iter().flat_map(|p| [&p.prompt, &p.chosen, &p.rejected]).for_each(|ids| digest.ids(ids));
    digest.finish()
}

/// A digest of what the numbers are about and of the numbers.
fn key(identity: &Value, pairs: &str, sums: &[[f64; 2]]) -> String {
    blake3::hash(json!([identity, pairs, sums]).to_string().as_bytes()).to_hex().to_string()
}
