//! The rounds of a run. [`round`](self) reads like the paper's algorithm; every arrow is an artifact in the
//! store, and a stage reads nothing of another stage but its artifact.

pub(crate) mod answers;
mod dpo;
pub(crate) mod evaluate;
pub(crate) mod exchange;
mod folders;
pub(crate) mod foretell;
pub(crate) mod groups;
mod inputs;
pub(crate) mod judge;
pub(crate) mod load;
pub(crate) mod models;
mod parts;
mod plan;
pub(crate) mod rank;
pub(crate) mod regularize;
pub(crate) mod sample;
pub(crate) mod setup;
mod sft;
mod summary;
mod viewpoints;
mod working;

use crate::config::RunConfig;
use crate::error::Result;
use crate::report::Progress;
use folders::Folders;
use models::ModelRef;
use setup::Run;

pub use evaluate::Agreement;
pub(crate) use groups::write_one as write_record;
pub use groups::{LabelledPair, RankedGroup, RankedPair, SampledGroup, SampledResponse, ScoredGroup};
pub use judge::SaidRow;
pub(crate) use parts::check as check_parts;
pub use summary::{ModelSummary, RoundSummary, RunSummary};

/// Runs everything that a config describes, or continues where an earlier call stopped, and writes the run
/// folder: the resolved config, `metrics.jsonl`, the tables and the checkpoints M1, M2 ….
///
/// Meanwhile `progress.json` there tells how far it is, for `creamery watch`.
pub fn run(config: &RunConfig, progress: &mut Progress) -> Result<RunSummary> {
    progress.record(&config.out, &config.name, config.seed, plan::stages(config));
    let done = rounds(config, progress);
    progress.close(done.as_ref().err());
    done
}

fn rounds(config: &RunConfig, progress: &mut Progress) -> Result<RunSummary> {
    let (config, folders) = &Folders::find(config, progress)?;
    let mut run = Run::new(config, folders, progress)?;
    let m0 = run.initial.clone();
    run.makes(None);
    let (m1, sft_steps) = sft::stage(&mut run)?;
    let mut summary = RunSummary::new(config);
    summary.sft_steps = sft_steps;
    summary.models.push(evaluate::model(&mut run, "M0", &m0)?);
    if m1 != m0 {
        summary.models.push(evaluate::model(&mut run, "M1", &m1)?);
    }
    run.policies.push(m1.clone());
    let mut policy = m1;
    for t in 1..=config.rounds.count {
        run.makes(Some(t));
        let (next, record) = round(&mut run, t, &policy, &summary)?;
        summary.rounds.push(record);
        run.policies.push(next.clone());
        summary.models.push(evaluate::model(&mut run, &format!("M{}", t + 1), &next)?);
        summary.write(&run)?;
        policy = next;
    }
    summary.write(&run)?;
    run.finish()?;
    Ok(summary)
}

/// One round of CREAM (arXiv 2410.12735, Algorithm 1): M_t becomes M_{t+1}.
fn round(
    run: &mut Run,
    t: usize,
    policy: &ModelRef, // M_t
    earlier: &RunSummary,
) -> Result<(ModelRef, RoundSummary)> {
    // M_t and M_{t−1}, or whoever the config lets judge
    let viewpoints = viewpoints::of_round(run, t)?;

    // y_1 … y_N ~ M_t(· | x)
    let samples = sample::stage(run, t, policy)?;
    // r(x, y) as M_t sees it, and as M_{t−1} does
    let scores = judge::stages(run, t, &samples, &viewpoints)?;
    // the judges' own models make room for training
    run.slots.release();
    // two rankings; chosen = best, rejected = worst, by M_t only
    let ranking = rank::stage(run, t, &samples, &scores)?;
    // C from the agreement of the rankings
    let labels = regularize::stage(run, t, &samples, &scores, &ranking, earlier)?;
    // C · L_DPO + (1 − C) · L_reversed, from M_t, with M_t as the reference
    let next = dpo::stage(run, t, policy, &ranking, &labels)?;

    let quality = evaluate::preferences(run, t, policy, &viewpoints)?;
    run.slots.release();
    let record = summary::round(t, &samples, &scores, &ranking, &labels, &next, quality)?;
    Ok((next.model, record))
}
