//! The stages by themselves, through the binary: `judge`, `rank`, `label` and `eval`.

mod eval;
mod judging;
mod languages;
mod sources;
mod third_party;
mod world;
