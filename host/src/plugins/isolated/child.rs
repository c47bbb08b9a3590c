//! The plugin's process: loads one library and answers one call after another, until its parent is gone.

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use creamery_plugin::Numbers;

use super::frame::{Channel, message};
use super::wire::{Reader, Wire, put_text};
use super::{Load, MAX_MESSAGES, Refusal, confine, tag};
use crate::error::{Error, Result};
use crate::plugins::{Failure, LoadOptions, PluginInfo, Raw, descriptor, log, native};

/// What `creamery plugin-host` does. It ends with its parent, so there is no result but an error at the start.
pub fn main() -> Result<()> {
    let wrong = || {
        Error::config("this command is for creamery itself: it runs a native plugin in a process of its own")
            .help("set `isolation = \"process\"` for a plugin of a config")
    };
    confine::close_files();
    let stream = std::io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from).map_err(|_| wrong())?;
    if stream.peer_addr().is_err() {
        return Err(wrong());
    }
    // What the plugin prints must not go where messages go.
    confine::redirect().map_err(|e| Error::io("redirect the output of", "/dev/null", &e))?;
    let mut channel = Channel::new(stream.try_clone().map_err(|e| Error::io("copy", "the connection", &e))?);
    let Ok((tag::LOAD, reader)) = channel.receive(1 << 30, None) else { return Err(wrong()) };
    let Ok(load) = reader.whole::<Load>() else { return Err(wrong()) };
    confine::with_parent(load.parent);

    let messages = Arc::new(AtomicUsize::new(0));
    let options = options(stream, messages.clone());
    let mut plugin = match loaded(&load, &options) {
        Ok((plugin, info, missing)) => {
            if channel.send(&message(tag::DONE, |out| missing.put(out)), None).is_err() {
                return Ok(());
            }
            Plugin { raw: plugin, info, options }
        }
        Err(e) => {
            // The parent says which plugin it is, and that it was configured.
            let message = e.message().rsplit_once("): configure: ").map_or(e.message(), |(_, message)| message);
            let refusal = Refusal { message: message.to_owned(), help: e.help_text().map(str::to_owned) };
            let _ = channel.send(&super::message(tag::FAILED, |out| refusal.put(out)), None);
            return Ok(());
        }
    };
    // Ends with an error when the parent has closed its end.
    while let Ok((function, reader)) = channel.receive(u64::MAX, None) {
        messages.store(0, Ordering::Relaxed);
        let answer = plugin.call(function, reader);
        if channel.send(&answer, None).is_err() {
            break;
        }
    }
    Ok(())
}

/// Messages of the plugin go to the parent.
fn options(stream: UnixStream, sent: Arc<AtomicUsize>) -> LoadOptions {
    let mut options = LoadOptions::new("");
    options.on_log = Some(Arc::new(move |_, level, text| {
        if sent.fetch_add(1, Ordering::Relaxed) < MAX_MESSAGES {
            let line = message(tag::LOG, |out| {
                (level as u32).put(out);
                put_text(text, out);
            });
            let _ = (&stream).write_all(&line);
        }
    }));
    options
}

/// The plugin, and what this machine lacks to confine it.
fn loaded(load: &Load, options: &LoadOptions) -> Result<(Raw, PluginInfo, Vec<String>)> {
    let path = Path::new(&load.path);
    let bytes = descriptor::file_bytes(path)?;
    let digest = blake3::hash(&bytes).to_hex().to_string();
    if digest != load.digest {
        return Err(Error::plugin("the file is another one than a moment ago").help("start the program again"));
    }
    let descriptor = descriptor::read_bytes(&bytes)?;
    if descriptor.kind.name() != load.kind {
        return Err(Error::plugin(format!("it is a {}, not a {}", descriptor.kind, load.kind)));
    }
    descriptor.check_platform()?;
    let params =
        serde_json::from_str(&load.params).map_err(|e| Error::plugin(format!("its parameters did not arrive: {e}")))?;
    let info = PluginInfo { descriptor, path: Some(PathBuf::from(path)), digest, sources: None, params };
    // No code of the plugin has run yet: the library's initializers are the first.
    let missing = confine::before_loading(path, load.memory_bytes)?;
    let library = native::open(path, &bytes, &info)?;
    drop(bytes);
    confine::after_loading()?;
    Ok((native::make(library, &info, options)?, info, missing))
}

struct Plugin {
    raw: Raw,
    info: PluginInfo,
    options: LoadOptions,
}

impl Plugin {
    /// Calls a function with the arguments that the reader holds; its answer as a message.
    fn call(&mut self, function: u8, mut reader: Reader<'_>) -> Vec<u8> {
        let Plugin { raw, info, options } = self;
        let input = &mut reader;
        let answer = log::loading(info, options, || match (function, raw) {
            (tag::STEP, Raw::Judge(judge)) => {
                let (context, groups, answers) = (get(input)?, get(input)?, get::<Vec<_>>(input)?);
                done(judge.step(&context, &groups, &answers))
            }
            (tag::REPORT, Raw::Judge(judge)) => {
                let (context, groups, answers) = (get(input)?, get(input)?, get::<Vec<_>>(input)?);
                done(judge.report(&context, &groups, &answers))
            }
            (tag::RANK, Raw::Ranker(ranker)) => {
                let (context, groups, scores) = (get(input)?, get(input)?, get(input)?);
                done(ranker.rank(&context, &groups, &scores))
            }
            (tag::RANK_SOURCES, Raw::Ranker(ranker)) => {
                let (context, groups, scores, sources) = (get(input)?, get(input)?, get(input)?, get(input)?);
                done(ranker.rank_sources(&context, &groups, &scores, &sources))
            }
            (tag::RANK_NUMBERS, Raw::Ranker(ranker)) => {
                let (context, numbers) = (get(input)?, get::<Numbers>(input)?);
                done(ranker.rank_numbers(&context, numbers.view()))
            }
            (tag::LABEL, Raw::Regularizer(regularizer)) => done(regularizer.label(&get(input)?)),
            (tag::OBJECTIVE, Raw::Regularizer(regularizer)) => done(regularizer.objective(&get(input)?)),
            (tag::COLUMNS, Raw::Regularizer(regularizer)) => {
                let (records, labels) = (get(input)?, get(input)?);
                done(regularizer.columns(&records, &labels))
            }
            (tag::OBJECTIVE_COLUMNS, Raw::Regularizer(regularizer)) => {
                let (batch, columns) = (get(input)?, get::<Vec<_>>(input)?);
                done(regularizer.objective_columns(&batch, &columns))
            }
            (other, _) => Err(failure(format!("there is no function {other}"))),
        });
        answer.unwrap_or_else(|Failure { message: text, help, .. }| {
            message(tag::FAILED, |out| Refusal { message: text, help }.put(out))
        })
    }
}

fn done<T: Wire>(result: Result<T, Failure>) -> Result<Vec<u8>, Failure> {
    result.map(|value| message(tag::DONE, |out| value.put(out)))
}

fn get<T: Wire>(input: &mut Reader<'_>) -> Result<T, Failure> {
    T::get(input).map_err(|what| failure(format!("its arguments did not arrive: {what}")))
}

fn failure(message: String) -> Failure {
    Failure { message, help: None, timed_out: false }
}
