//! `creamery report`: what it says of runs, in every form, and that a browser shows it.

mod browser;
mod forms;
mod page;
mod world;
