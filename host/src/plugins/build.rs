use std::path::{Path, PathBuf};
use super::LoadOptions;
use crate::error::{Error, Result};
pub(super) fn build(_folder: &Path, _options: &LoadOptions) -> Result<PathBuf> { Err(Error::plugin("x")) }
