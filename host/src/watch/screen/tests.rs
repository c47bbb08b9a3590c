//! Whole pictures, at the sizes that matter.
