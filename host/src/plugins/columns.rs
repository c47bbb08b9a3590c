//! The columns of labelled pairs: numbers that the objective which trains has made for itself.

use creamery_plugin::{Column, Labels, Records};

use super::RegularizerPlugin;
use crate::error::{Error, Result};

/// The columns that the pairs get: those of the plugin whose objective trains, which is `objective`, or else the
/// regularizer.
///
/// # Errors
/// What a plugin fails with, and columns of a regularizer that the objective of another plugin would never see.
pub fn of(
    regularizer: &mut dyn RegularizerPlugin,
    objective: &mut Option<&mut dyn RegularizerPlugin>,
    records: &Records,
    labels: &Labels,
) -> Result<Vec<Column>> {
    let made = regularizer.columns(records, labels)?;
    let Some(objective) = objective else { return Ok(made) };
    let columns = objective.columns(records, labels)?;
    let lost: Vec<&str> =
        made.iter().map(|c| c.name.as_str()).filter(|n| columns.iter().all(|c| c.name != *n)).collect();
    if lost.is_empty() {
        return Ok(columns);
    }
    let (gives, trains) = (regularizer.info().title(), objective.info().title());
    Err(Error::config(format!(
        "the regularizer, {gives}, gives the pairs the columns {}, which only its own objective reads, but that of {trains} \
         trains",
        lost.join(", ")
    ))
    .help("leave [objective] (--objective) out, or choose a regularizer that says all it has to say in C and weights"))
}

/// Pairs of judgments have no columns, so an objective that needs `column` cannot train on them.
pub fn no_columns_of_judgments(column: &str) -> Error {
    Error::config(format!(
        "the judge reports pairs of judgments, and the objective needs the column '{column}', which judgments have not"
    ))
    .help("choose an objective without columns, or a judge that only scores")
}
