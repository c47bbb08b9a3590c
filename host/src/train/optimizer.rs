//! AdamW with decoupled weight decay (arXiv 1711.05101) and clipping by the global norm.

use candle_core::Tensor;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::model::ops::{self, AdamStep};
use crate::model::{Decoder, Gradients};

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OptimizerConfig {
    /// The peak of the schedule.
    pub learning_rate: f64,
    /// Decay of the first and of the second moment.
    pub betas: [f64; 2],
    pub eps: f64,
    pub weight_decay: f64,
    /// Also decays norms and biases.
    pub decay_all: bool,
    /// The gradient is scaled down to this norm.
    pub max_grad_norm: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        OptimizerConfig {
            learning_rate: 1e-6,
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 0.01,
            decay_all: false,
            max_grad_norm: 1.0,
        }
    }
}

/// AdamW's state: f32 moments of each parameter, and the number of steps taken.
pub struct Optimizer {
    config: OptimizerConfig,
    moments: Vec<(Tensor, Tensor)>,
    decays: Vec<bool>,
    steps: u64,
}

impl Optimizer {
    pub fn new(model: &mut Decoder, config: OptimizerConfig) -> Result<Self> {
        model.check_trainable()?;
        let parameters = model.parameters();
        let moments: Result<Vec<_>> =
            parameters.iter().map(|(_, t)| Ok((ops::zeros_like(t)?, ops::zeros_like(t)?))).collect();
        // Norms and biases are the vectors.
        let decays = parameters.iter().map(|(_, t)| config.decay_all || t.dims().len() > 1).collect();
        Ok(Optimizer { config, moments: moments?, decays, steps: 0 })
    }

    /// Clips the gradients and changes the parameters; returns the norm before clipping.
    ///
    /// # Errors
    /// A norm that is not finite: nothing is changed then.
    pub fn step(&mut self, model: &mut Decoder, gradients: &Gradients, learning_rate: f64) -> Result<f64> {
        let norm = gradients.norm()?;
        if !norm.is_finite() {
            return Err(Error::run(format!("the gradient's norm is {norm}"))
                .help("lower the learning rate, or look at the rows of this step"));
        }
        self.steps += 1;
        let OptimizerConfig { betas: [beta1, beta2], eps, weight_decay, max_grad_norm, .. } = self.config;
        let bias1 = 1.0 - beta1.powf(self.steps as f64);
        let bias2 = 1.0 - beta2.powf(self.steps as f64);
        let parameters = model.parameters();
        for (i, (_, parameter)) in parameters.iter().enumerate() {
            let decay = if self.decays[i] { 1.0 - learning_rate * weight_decay } else { 1.0 };
            let step = AdamStep {
                beta1: beta1 as f32,
                beta2: beta2 as f32,
                eps: eps as f32,
                gradient_scale: (max_grad_norm / (norm + 1e-6)).min(1.0) as f32,
                decay: decay as f32,
                step_size: (learning_rate / bias1) as f32,
                correction2: bias2.sqrt() as f32,
            };
            let (m, v) = &self.moments[i];
            ops::adamw(parameter, m, v, &gradients.tensors[i], &step)?;
        }
        model.parameters_changed();
        Ok(norm)
    }

    /// First and second moment of each of [`Decoder::parameters`], in their order.
    pub fn moments(&self) -> &[(Tensor, Tensor)] {
        &self.moments
    }

    /// Takes up the moments of an optimizer that has taken `steps` steps, in the order of [`Decoder::parameters`].
    pub(super) fn restore(&mut self, steps: u64, moments: &[(Vec<f32>, Vec<f32>)]) -> Result<()> {
        for ((m, v), (saved_m, saved_v)) in self.moments.iter().zip(moments) {
            ops::write(m, |to| to.copy_from_slice(saved_m))?;
            ops::write(v, |to| to.copy_from_slice(saved_v))?;
        }
        self.steps = steps;
        Ok(())
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }
}
