//! Learning-rate schedules, as transformers' `get_scheduler` computes them.

use std::f64::consts::PI;

use serde::Serialize;

/// How the learning rate moves after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Schedule {
    /// Half a cosine down to 0.
    Cosine,
    /// A straight line down to 0.
    Linear,
    /// The peak throughout; any warm-up is ignored.
    Constant,
    ConstantWithWarmup,
}

/// How long the learning rate rises to its peak.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub enum Warmup {
    Steps(usize),
    /// A share of all steps, rounded up.
    Ratio(f64),
}

impl Warmup {
    pub fn steps(self, total_steps: usize) -> usize {
        match self {
            Warmup::Steps(steps) => steps,
            Warmup::Ratio(ratio) => (ratio * total_steps as f64).ceil() as usize,
        }
    }
}

/// A schedule laid over a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LearningRate {
    pub peak: f64,
    pub schedule: Schedule,
    pub warmup_steps: usize,
    pub total_steps: usize,
}

impl LearningRate {
    /// The learning rate of the optimizer step with this number, from 0.
    pub fn lr_at(&self, step: usize) -> f64 {
        let over = |a: usize, b: usize| a as f64 / b.max(1) as f64;
        if self.schedule == Schedule::Constant {
            return self.peak;
        }
        if step < self.warmup_steps {
            return self.peak * over(step, self.warmup_steps);
        }
        let span = self.total_steps.saturating_sub(self.warmup_steps);
        let factor = match self.schedule {
            Schedule::Cosine => (0.5 * (1.0 + (PI * over(step - self.warmup_steps, span)).cos())).max(0.0),
            Schedule::Linear => over(self.total_steps.saturating_sub(step), span),
            Schedule::Constant | Schedule::ConstantWithWarmup => 1.0,
        };
        self.peak * factor
    }
}
