//! What a person sees of a run: progress while it goes, tables at its end, and the report on one or many runs.

mod arms;
mod charts;
mod collect;
mod compare;
mod html;
pub mod live;
mod metric;
mod progress;
mod provenance;
mod rounds;
mod samples;
pub mod statistics;
mod table;
mod tables;
mod tensorboard;
mod views;

use std::path::PathBuf;

pub use arms::{Arm, Experiment};
pub use collect::{RunData, State};
pub use compare::{ArmResult, Comparison, Difference};
pub use metric::Metric;
pub use progress::Progress;
pub use table::Table;
pub use tensorboard::EventWriter;

use crate::error::Result;
use provenance::Provenance;
use rounds::{ByRound, Curve};
use samples::Samples;

/// What a report is asked for.
#[derive(Clone, Debug, Default)]
pub struct ReportOptions {
    /// The arm that others are compared with; else the sweep's, or the first.
    pub baseline: Option<String>,
    /// The metrics to compare by, the first of which is the question; else the sweep's, or accuracies.
    pub metrics: Vec<String>,
    /// Groups of an arm in the sample browser.
    pub samples: usize,
}

/// Everything that a report says, in whatever form. The same runs give the same bytes.
pub struct Report {
    experiment: Experiment,
    /// The first is the question.
    comparisons: Vec<Comparison>,
    /// Arms by the first metric, the best first.
    order: Vec<usize>,
    /// The arms in the charts, as many as can be told apart: the baseline, then the best.
    drawn: Vec<usize>,
    rounds: Vec<ByRound>,
    curves: Vec<Curve>,
    samples: Samples,
    provenance: Provenance,
}

impl Report {
    /// Reads run folders and sweeps' folders.
    ///
    /// # Errors
    /// A folder that is neither, a baseline or a metric that is not there.
    pub fn new(folders: &[PathBuf], options: &ReportOptions) -> Result<Report> {
        let experiment = Experiment::read(folders, options.baseline.as_deref())?;
        let metrics = Metric::chosen(&options.metrics, &experiment)?;
        let comparisons: Vec<Comparison> =
            metrics.into_iter().map(|metric| Comparison::new(&experiment, metric)).collect();
        let order = comparisons[0].order();
        let best = order.iter().copied().filter(|arm| *arm != experiment.baseline);
        let drawn: Vec<usize> = std::iter::once(experiment.baseline).chain(best).take(charts::STYLES).collect();
        Ok(Report {
            rounds: ByRound::all(&experiment),
            curves: Curve::all(&experiment, &drawn),
            samples: match options.samples {
                0 => Samples::default(),
                most => samples::samples(&experiment, &drawn, most),
            },
            provenance: Provenance::new(&experiment, &order),
            comparisons,
            order,
            drawn,
            experiment,
        })
    }

    /// One self-contained page.
    ///
    /// # Errors
    /// None that run folders can cause.
    pub fn html(&self) -> Result<String> {
        html::page(self)
    }

    pub fn markdown(&self) -> String {
        tables::markdown(self)
    }

    /// RFC 4180, numbers in full.
    pub fn csv(&self) -> String {
        tables::csv(self)
    }

    /// The answer, in a sentence.
    pub fn answer(&self) -> String {
        self.comparisons[0].answer()
    }

    /// Seconds of a run, the mean over the finished ones, of each arm that has a value.
    fn costs(&self) -> Vec<(usize, f64)> {
        let of = |(number, arm): (usize, &Arm)| {
            self.comparisons[0].arms[number].mean?;
            let seconds: Vec<f64> =
                (arm.runs.iter()).filter(|run| run.state == State::Finished).filter_map(RunData::seconds).collect();
            Some((number, statistics::mean(&seconds)?))
        };
        self.experiment.arms.iter().enumerate().filter_map(of).collect()
    }
}
