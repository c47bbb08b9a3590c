//! What a preference training minimizes: a loss by name, or a plugin's objective.

use std::cell::RefCell;

use creamery_plugin::objective::PreferenceLoss;
use creamery_plugin::{Column, ObjectiveBatch, ObjectiveValue};

use crate::config::{DpoSettings, Loss};
use crate::data::rows::{PairRow, TrainingLine};
use crate::error::{Error, Result};
use crate::plugins::{RegularizerPlugin, rehearsal};
use crate::train::PreferencePair;

pub(super) enum Goal<'a> {
    Loss(PreferenceLoss),
    Plugin(&'a RefCell<Box<dyn RegularizerPlugin>>),
}

impl<'a> Goal<'a> {
    pub(super) fn of(settings: &DpoSettings, plugin: Option<&'a RefCell<Box<dyn RegularizerPlugin>>>) -> Self {
        match plugin {
            Some(plugin) => Goal::Plugin(plugin),
            None => Goal::Loss(preference_loss(settings)),
        }
    }

    /// Must every row say its C? A plugin with an objective of its own may do without; a row then counts as certain.
    pub(super) fn needs_consistency(&self) -> bool {
        match self {
            Goal::Loss(loss) => matches!(loss, PreferenceLoss::Cream | PreferenceLoss::SignedWeight),
            Goal::Plugin(plugin) => !plugin.borrow().has_objective(),
        }
    }

    /// With policy = reference the loss is ln 2 times the weight.
    pub(super) fn starts_at_ln2(&self) -> bool {
        match self {
            Goal::Loss(loss) => loss.starts_at_ln2(),
            Goal::Plugin(plugin) => !plugin.borrow().has_objective(),
        }
    }

    /// A loss by name that has no reference.
    pub(super) fn reference_free(&self) -> bool {
        matches!(self, Goal::Loss(loss) if loss.reference_free())
    }

    /// What it is called in messages.
    pub(super) fn title(&self) -> String {
        match self {
            Goal::Loss(_) => "this loss".to_owned(),
            Goal::Plugin(plugin) => format!("the objective of {}", plugin.borrow().info().title()),
        }
    }

    /// Does it look at the reference? A plugin's objective is tried on a few of the pairs with made-up log-probabilities.
    ///
    /// # Errors
    /// What the objective fails with, such as a column that the pairs do not have.
    pub(super) fn looks_at_reference(&self, pairs: &[PreferencePair], columns: &[Column], beta: f64) -> Result<bool> {
        if let Goal::Loss(loss) = self {
            return Ok(!loss.reference_free());
        }
        let pairs = &pairs[..pairs.len().min(rehearsal::PAIRS)];
        let columns: Vec<Column> = (columns.iter())
            .map(|c| Column { name: c.name.clone(), values: c.values[..pairs.len()].to_vec() })
            .collect();
        let batch = ObjectiveBatch {
            beta,
            chosen_tokens: pairs.iter().map(|p| p.chosen.len() as u32).collect(),
            rejected_tokens: pairs.iter().map(|p| p.rejected.len() as u32).collect(),
            consistency: pairs.iter().map(|p| p.consistency).collect(),
            weight: pairs.iter().map(|p| p.weight).collect(),
            ..ObjectiveBatch::default()
        };
        rehearsal::depends_on_reference(&mut |batch| self.evaluate(batch, &columns), &batch)
            .map_err(|e| e.context("trying the objective before training"))
    }

    pub(super) fn evaluate(&self, batch: &ObjectiveBatch, columns: &[Column]) -> Result<ObjectiveValue> {
        match (self, columns) {
            (Goal::Loss(loss), _) => Ok(loss.evaluate(batch)),
            (Goal::Plugin(plugin), []) => plugin.borrow_mut().objective(batch),
            (Goal::Plugin(plugin), _) => plugin.borrow_mut().objective_columns(batch, columns),
        }
    }

    /// The columns of the lines that are `kept`; a loss by name has no use for any.
    ///
    /// # Errors
    /// A line whose columns are not those of the first line.
    pub(super) fn columns(&self, lines: &[TrainingLine<PairRow>], kept: &[usize]) -> Result<Vec<Column>> {
        let (Goal::Plugin(_), Some(first)) = (self, lines.first()) else { return Ok(Vec::new()) };
        let names = || first.row.columns.keys();
        for line in lines {
            if !line.row.columns.keys().eq(names()) {
                let list = |names: Vec<&String>| match names.as_slice() {
                    [] => "none".to_owned(),
                    names => names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", "),
                };
                let (found, expected) = (list(line.row.columns.keys().collect()), list(names().collect()));
                let message = format!("the columns are {found}; line {} has {expected}", first.line);
                return Err(Error::input(message)
                    .line(line.line)
                    .help("an objective needs the same columns of all pairs"));
            }
        }
        let column = |name: &String| Column {
            name: name.clone(),
            values: kept.iter().map(|i| lines[*i].row.columns[name]).collect(),
        };
        Ok(names().map(column).collect())
    }
}

fn preference_loss(settings: &DpoSettings) -> PreferenceLoss {
    let label_smoothing = settings.label_smoothing.unwrap_or(0.0);
    match settings.loss.unwrap_or(Loss::Dpo) {
        Loss::Dpo => PreferenceLoss::Dpo { label_smoothing },
        Loss::Cream => PreferenceLoss::Cream,
        Loss::Ipo => PreferenceLoss::Ipo,
        Loss::IpoSeq => PreferenceLoss::IpoSequence,
        Loss::Hinge => PreferenceLoss::Hinge,
        Loss::Robust => PreferenceLoss::Robust { label_smoothing },
        Loss::Simpo => PreferenceLoss::SimPo { gamma: settings.gamma.unwrap_or(0.0) },
        Loss::SignedWeight => PreferenceLoss::SignedWeight,
        Loss::Orpo => PreferenceLoss::Orpo,
        Loss::SppoHard => PreferenceLoss::SppoHard,
    }
}
