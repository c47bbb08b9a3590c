//! What the page's template is given, already in the words and numbers that people read.

use minijinja::value::Value as Safe;
use serde::Serialize;

/// Everything on the page.
#[derive(Serialize)]
pub struct Page {
    pub title: String,
    pub version: &'static str,
    pub nonce: String,
    pub style: Safe,
    pub early: Safe,
    pub script: Safe,
    pub sections: Vec<(&'static str, &'static str)>,
    pub facts: String,
    pub question: String,
    /// What is said, and on what ground.
    pub answer: (String, String),
    pub remarks: Vec<String>,
    pub resamples: usize,
    pub comparisons: Vec<ComparisonView>,
    pub legend: Vec<LegendView>,
    pub rounds_note: String,
    pub rounds: Vec<RoundView>,
    pub rounds_missing: String,
    pub curves_note: String,
    pub curves: Vec<CurveView>,
    pub pareto: Option<Safe>,
    pub pareto_note: String,
    pub metric: String,
    pub costs: Vec<CostView>,
    pub cost_cut: String,
    pub sample_count: usize,
    pub samples_note: String,
    pub sample_notes: Vec<String>,
    pub samples_json: Safe,
    pub commands: Vec<String>,
    pub tensorboard: bool,
    pub run_note: String,
    pub runs: Vec<RunView>,
    pub plugins: Vec<PluginView>,
    pub baseline: String,
    pub differences: Vec<(String, String, String, String)>,
    pub differences_cut: String,
    pub config: String,
    pub artifacts: Vec<(String, String, String, String)>,
}

#[derive(Serialize)]
pub struct ComparisonView {
    pub heading: String,
    pub note: String,
    pub answer: String,
    pub baseline: String,
    pub unit: &'static str,
    pub difference_unit: String,
    pub chart: Option<Safe>,
    pub caption: String,
    pub rows: Vec<ArmView>,
    pub hidden: bool,
    pub count: usize,
    pub seeds: Vec<u64>,
    pub by_seed: Vec<RowView>,
    pub cut: String,
}

#[derive(Serialize)]
pub struct ArmView {
    pub class: &'static str,
    pub key: Option<Safe>,
    pub name: String,
    pub baseline: bool,
    pub n: String,
    pub mean: String,
    pub interval: String,
    pub difference: String,
    pub difference_interval: String,
    pub bootstrap: String,
    pub p: String,
    pub adjusted: String,
}

/// A row of cells of two lines.
#[derive(Serialize)]
pub struct RowView {
    pub name: String,
    pub cells: Vec<(String, String)>,
}

#[derive(Serialize)]
pub struct LegendView {
    pub key: Safe,
    pub name: String,
    pub baseline: bool,
}

#[derive(Serialize)]
pub struct RoundView {
    pub title: String,
    pub chart: Option<Safe>,
    pub places: Vec<String>,
    pub rows: Vec<RowView>,
    pub cut: String,
}

#[derive(Serialize)]
pub struct CurveView {
    pub title: String,
    pub chart: Option<Safe>,
}

#[derive(Serialize)]
pub struct CostView {
    pub name: String,
    pub seconds: String,
    pub quality: String,
    pub front: bool,
}

#[derive(Serialize)]
pub struct RunView {
    pub arm: String,
    pub seed: u64,
    pub state: String,
    pub folder: String,
    pub made_by: String,
    pub model: String,
    pub notes: Vec<String>,
}

#[derive(Serialize)]
pub struct PluginView {
    pub name: String,
    pub part: String,
    pub version: String,
    pub form: String,
    pub arms: String,
    pub params: String,
    pub digest: String,
}
