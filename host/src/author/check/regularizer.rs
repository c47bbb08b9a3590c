//! The checks of regularizers: labels and columns of all pairs of a round, and the objective.

use creamery_plugin::objective::c_mix;
use creamery_plugin::{Column, Labels, ObjectiveBatch, ObjectiveValue, Records};
use serde::Serialize;

use super::case::{Case, Smaller, count};
use super::metered::Metered;
use super::suite::{BY_POSITION, FIRST, Suite, TIES, is_refusal, survives_nonsense, told};
use super::{Options, Reload, gradient, inputs};
use crate::plugins::RegularizerPlugin;

/// Labels over a whole set are sums over it: in another order their last bits may differ.
const SUMS: f64 = 1e-9;

/// Pairs in training, with what the objective may use.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Batch {
    pub batch: ObjectiveBatch,
    pub columns: Vec<Column>,
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.batch.policy_chosen.len()
    }

    /// Some of its pairs.
    pub(super) fn select(&self, pairs: impl Iterator<Item = usize> + Clone) -> Self {
        let numbers = |list: &[f64]| pairs.clone().map(|i| list[i]).collect::<Vec<f64>>();
        let counts = |list: &[u32]| pairs.clone().map(|i| list[i]).collect::<Vec<u32>>();
        let b = &self.batch;
        Batch {
            batch: ObjectiveBatch {
                beta: b.beta,
                policy_chosen: numbers(&b.policy_chosen),
                policy_rejected: numbers(&b.policy_rejected),
                reference_chosen: numbers(&b.reference_chosen),
                reference_rejected: numbers(&b.reference_rejected),
                chosen_tokens: counts(&b.chosen_tokens),
                rejected_tokens: counts(&b.rejected_tokens),
                consistency: numbers(&b.consistency),
                weight: numbers(&b.weight),
            },
            columns: (self.columns.iter())
                .map(|c| Column { name: c.name.clone(), values: numbers(&c.values) })
                .collect(),
        }
    }
}

impl Smaller for Batch {
    fn smaller(&self) -> Vec<Self> {
        let n = self.len();
        let mut found = Vec::new();
        if n > 1 {
            found.push(self.select(0..n / 2));
            found.push(self.select(n / 2..n));
            found.extend((0..n).map(|left_out| self.select((0..n).filter(move |i| *i != left_out))));
        }
        found
    }

    fn size(&self) -> String {
        count(self.len(), "pair")
    }
}

pub(super) fn run(
    mut plugin: Metered<dyn RegularizerPlugin>,
    reload: &mut Reload<'_, dyn RegularizerPlugin>,
    options: &Options,
) -> Suite {
    let mut suite = Suite::default();
    let plugin = &mut plugin;

    suite.check(FIRST, inputs::ordinary(), |case| {
        let (records, labels, columns) = labelled(plugin, case)?;
        let mean = labels.consistency.iter().sum::<f64>() / labels.consistency.len().max(1) as f64;
        let columns = if columns.is_empty() { String::new() } else { format!(", {}", count(columns.len(), "column")) };
        Ok(format!("{}: mean C {mean:.3}{columns}", count(records.pairs.len(), "pair")))
    });
    suite.check("repeat", inputs::ordinary(), |case| {
        let first = labelled(plugin, case)?;
        let again = labelled(plugin, case)?;
        let mut other = reload().map_err(|e| told(&e))?;
        let reloaded = labelled(&mut other, case)?;
        // As text, where every number has all its digits.
        let text = |x: &(Records, Labels, Vec<Column>)| format!("{:?}{:?}", x.1, x.2);
        match (text(&first) == text(&again), text(&first) == text(&reloaded)) {
            (true, true) => Ok("twice, and from a plugin loaded again: the same bits".to_owned()),
            (false, _) => Err("other labels or columns the second time".to_owned()),
            (true, false) => Err("other labels or columns from a plugin loaded again".to_owned()),
        }
    });
    suite.skip("batches", "labels are made of all pairs of a round at once");
    suite.check("order", inputs::ordinary(), |case| {
        let forwards = labelled(plugin, case)?.1;
        let backwards = labelled(plugin, &case.select((0..case.groups.len()).rev()))?.1;
        // One pair a group, so that the pairs are turned as the groups are.
        let n = backwards.consistency.len();
        alike(&forwards, &backwards, |i| n - 1 - i, "with the groups in reverse order")?;
        Ok("groups in reverse order: the same labels, to rounding".to_owned())
    });
    if plugin.info().descriptor.has_feature("by-position") {
        suite.skip("responses-order", BY_POSITION);
    } else {
        suite.check("responses-order", inputs::without_ties(), |case| {
            if case.has_ties() {
                // Of the inputs that are made smaller.
                return Ok(TIES.to_owned());
            }
            let forwards = labelled(plugin, case)?.1;
            let backwards = labelled(plugin, &case.turned_within())?.1;
            alike(&forwards, &backwards, |i| i, "with the responses of each group in reverse order").map_err(
                |why| format!("{why}, although none tie; if that is meant, say so with the feature \"by-position\""),
            )?;
            Ok("responses of each group in reverse order: the same labels, to rounding".to_owned())
        });
    }
    let cases = [
        ("no-groups", inputs::empty(), false),
        ("one-group", inputs::single_group(), false),
        ("one-response", inputs::single_response(), false),
        ("many-groups", inputs::many(options.many), false),
        ("unicode", inputs::unicode(), false),
        ("empty-texts", inputs::empty_texts(), false),
        ("long-texts", inputs::long_texts(), false),
        ("ties", inputs::tied_scores(), false),
        // A measure of agreement may be undefined where nothing differs.
        ("identical", inputs::ties(), true),
        ("abstentions", inputs::abstentions(), false),
        // Scores may be out of the range that a rule is made for.
        ("extreme-scores", inputs::extreme_scores(), true),
    ];
    for (name, input, may_refuse) in cases {
        suite.check(name, input, |case| {
            let records = case.records();
            let labels = match plugin.label(&records) {
                Ok(labels) => labels,
                Err(e) if may_refuse && is_refusal(&e) => return Ok(format!("it says: {}", told(&e))),
                Err(e) => return Err(told(&e)),
            };
            plugin.columns(&records, &labels).map_err(|e| told(&e))?;
            Ok(format!("{}: {}", case.size(), count(records.pairs.len(), "pair")))
        });
    }
    suite.check("nan-scores", inputs::nan_scores(), |case| survives_nonsense(plugin.label(&case.records())));
    objective(&mut suite, plugin);
    suite
}

/// Whether labels are the same but for rounding; pair `i` of the first ones is pair `place(i)` of the others.
fn alike(one: &Labels, other: &Labels, place: impl Fn(usize) -> usize, when: &str) -> Result<(), String> {
    let far = |a: f64, b: f64| (a - b).abs() > SUMS * a.abs().max(b.abs()).max(1.0);
    let is_dropped = |labels: &Labels, i: usize| labels.dropped.iter().any(|d| d.index as usize == i);
    for i in 0..one.consistency.len() {
        let j = place(i);
        for (what, a, b) in
            [("C", one.consistency[i], other.consistency[j]), ("weight", one.weights[i], other.weights[j])]
        {
            if far(a, b) {
                return Err(format!("the {what} of pair {i} is {a}, but {b} {when}"));
            }
        }
        if is_dropped(one, i) != is_dropped(other, j) {
            return Err(format!("pair {i} is dropped in only one of two orders, once {when}"));
        }
    }
    Ok(())
}

/// The checks of the objective.
fn objective(suite: &mut Suite, plugin: &mut Metered<dyn RegularizerPlugin>) {
    // Where labels fail, this is not reached by any check.
    let batch =
        labelled(plugin, &inputs::ordinary()).map(|(records, labels, columns)| moderate(&records, &labels, columns));
    let Ok(batch) = batch else {
        return suite.skip("objective", "there are no labels to use it with");
    };
    // With the feature c-mix it is not called in a run, so it may be none.
    if !plugin.has_objective() && plugin.objective(&batch.batch, &[]).is_err_and(|e| is_refusal(&e)) {
        return suite.skip("objective", "the host computes the C-mix itself");
    }
    suite.check("objective", batch.clone(), |batch| {
        let value = value(plugin, batch)?;
        let again = self::value(plugin, batch)?;
        match bits(&value) == bits(&again) {
            true => Ok(format!("{}, twice: the same bits", batch.size())),
            false => Err("other values the second time".to_owned()),
        }
    });
    suite.check("objective-batches", batch.clone(), |batch| {
        let whole = value(plugin, batch)?;
        for i in 0..batch.len() {
            let alone = value(plugin, &batch.select(std::iter::once(i)))?;
            let of_whole = ObjectiveValue {
                loss: vec![whole.loss[i]],
                d_chosen: vec![whole.d_chosen[i]],
                d_rejected: vec![whole.d_rejected[i]],
            };
            if bits(&of_whole) != bits(&alone) {
                return Err(format!(
                    "pair {i} has the loss {:?} among {} pairs, but {:?} alone; a pair's value must not depend on the \
                     others of its batch",
                    whole.loss[i],
                    batch.len(),
                    alone.loss[0]
                ));
            }
        }
        Ok("each pair alone: the same bits".to_owned())
    });
    suite.check("gradient", batch.clone(), |batch| gradient::check(batch, &mut |batch| value(plugin, batch)));
    suite.check("gradient-mixed", mixed(&batch), |batch| {
        let tried = gradient::check(batch, &mut |batch| value(plugin, batch))?;
        Ok(format!("with other weights, C and beta than its own: {tried}"))
    });
    if plugin.has_objective() {
        suite.skip("c-mix", "it has an objective of its own");
    } else {
        suite.check("c-mix", batch.clone(), |batch| match bits(&value(plugin, batch)?) == bits(&c_mix(&batch.batch)) {
            true => Ok("the objective that the feature c-mix promises".to_owned()),
            false => Err("the feature c-mix promises CREAM's objective, but it has another one".to_owned()),
        });
    }
    suite.check("objective-empty", batch.select(0..0), |batch| value(plugin, batch).map(|_| "no pairs".to_owned()));
    suite.check("objective-extreme", extreme(&batch), |batch| {
        value(plugin, batch).map(|_| "log-probabilities of 0 and −100 000, C and weights of 0 and 1".to_owned())
    });
    let mut broken = batch;
    broken.batch.policy_chosen.iter_mut().step_by(2).for_each(|x| *x = f64::NAN);
    broken.batch.policy_rejected.iter_mut().for_each(|x| *x = f64::NEG_INFINITY);
    suite.check("objective-nan", broken, |batch| survives_nonsense(plugin.objective(&batch.batch, &batch.columns)));
}

fn labelled(
    plugin: &mut Metered<dyn RegularizerPlugin>,
    case: &Case,
) -> Result<(Records, Labels, Vec<Column>), String> {
    let records = case.records();
    let labels = plugin.label(&records).map_err(|e| told(&e))?;
    let columns = plugin.columns(&records, &labels).map_err(|e| told(&e))?;
    Ok((records, labels, columns))
}

pub(super) fn value(plugin: &mut Metered<dyn RegularizerPlugin>, batch: &Batch) -> Result<ObjectiveValue, String> {
    plugin.objective(&batch.batch, &batch.columns).map_err(|e| told(&e))
}

/// Log-probabilities as of a model of moderate skill, all different, for the pairs of `records`.
fn moderate(records: &Records, labels: &Labels, columns: Vec<Column>) -> Batch {
    let n = records.pairs.len();
    let numbers = |start: f64, step: f64| (0..n).map(|i| start - step * i as f64).collect::<Vec<f64>>();
    let tokens = |of: fn(&creamery_plugin::Pair) -> u32| -> Vec<u32> {
        records.pairs.iter().map(|p| records.groups.responses[of(p) as usize].tokens.max(1)).collect()
    };
    let batch = ObjectiveBatch {
        beta: 0.1,
        policy_chosen: numbers(-5.0, 1.37),
        policy_rejected: numbers(-6.5, 0.71),
        reference_chosen: numbers(-5.5, 1.13),
        reference_rejected: numbers(-5.75, 0.93),
        chosen_tokens: tokens(|p| p.chosen),
        rejected_tokens: tokens(|p| p.rejected),
        consistency: labels.consistency.clone(),
        weight: labels.weights.iter().zip(&records.pairs).map(|(w, p)| w * p.weight).collect(),
    };
    Batch { batch, columns }
}

/// The same pairs as another plugin might label and weigh them.
fn mixed(batch: &Batch) -> Batch {
    const WEIGHTS: [f64; 5] = [0.5, 2.0, 1.0, 0.125, 3.0];
    const CONSISTENCIES: [f64; 4] = [0.75, 1.0, 0.5, 0.875];
    let mut mixed = batch.clone();
    let b = &mut mixed.batch;
    b.beta = 0.3;
    for i in 0..b.weight.len() {
        b.weight[i] = WEIGHTS[i % WEIGHTS.len()];
        b.consistency[i] = CONSISTENCIES[i % CONSISTENCIES.len()];
    }
    mixed
}

/// The same pairs at the ends of what training can meet.
fn extreme(batch: &Batch) -> Batch {
    let mut extreme = batch.clone();
    let b = &mut extreme.batch;
    for i in 0..b.policy_chosen.len() {
        let of = |k: usize| if (i + k).is_multiple_of(2) { -1e5 } else { 0.0 };
        (b.policy_chosen[i], b.policy_rejected[i]) = (of(0), of(1));
        (b.reference_chosen[i], b.reference_rejected[i]) = (of(i / 2), of(i / 2 + 1));
        b.consistency[i] = f64::from(i % 3 == 0);
        b.weight[i] = f64::from(i % 4 != 1);
    }
    extreme
}

fn bits(value: &ObjectiveValue) -> Vec<u64> {
    let ObjectiveValue { loss, d_chosen, d_rejected } = value;
    loss.iter().chain(d_chosen).chain(d_rejected).map(|x| x.to_bits()).collect()
}
