//! What the commands for single stages share: the model they work with, the rows they write, their progress.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use clap::Args;
use serde::Serialize;

use crate::data::{ChatFormat, ChatOptions};
use crate::error::{Error, Kind, Result};
use crate::hub;
use crate::model::{self, Decoder};
use crate::report::Progress;
use crate::store::{Destination, remove_abandoned};

/// The model of a command.
#[derive(Args)]
pub(super) struct ModelArgs {
    /// The model: a Hugging Face folder, or hf:owner/name[@revision] (with cargo feature `hub`)
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// An adapter on the model (LoRA): a folder that peft or creamery wrote
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
    #[arg(skip)]
    fetched: OnceLock<Fetched>,
}

/// The folders of a model and its adapter.
#[derive(Clone)]
struct Fetched {
    model: PathBuf,
    adapter: Option<PathBuf>,
}

impl ModelArgs {
    /// The folder that holds the model's files.
    pub(super) fn folder(&self) -> Result<PathBuf> {
        self.fetch(&mut Progress::new())
    }

    /// The same; what is on the hub is fetched the first time, and `progress` shows it.
    pub(super) fn fetch(&self, progress: &mut Progress) -> Result<PathBuf> {
        Ok(self.fetched(progress)?.model)
    }

    fn fetched(&self, progress: &mut Progress) -> Result<Fetched> {
        if let Some(fetched) = self.fetched.get() {
            return Ok(fetched.clone());
        }
        let model = hub::folder(&self.model, hub::Part::Model, progress)?;
        let adapter = self.adapter.as_ref().map(|named| hub::folder(named, hub::Part::Adapter, progress));
        let fetched = Fetched { model, adapter: adapter.transpose()? };
        Ok(self.fetched.get_or_init(|| fetched).clone())
    }

    /// The model as it was named.
    pub(super) fn shown(&self) -> String {
        self.model.display().to_string()
    }

    /// The adapter as it was named, if there is one.
    pub(super) fn shown_adapter(&self) -> Option<String> {
        self.adapter.as_ref().map(|adapter| adapter.display().to_string())
    }

    /// Starts the worker threads and gives the device.
    pub(super) fn start(&self) -> Result<candle_core::Device> {
        self.device.start()
    }

    /// Starts the worker threads and loads the model.
    pub(super) fn load(&self) -> Result<Decoder> {
        let (folder, device) = (self.folder()?, self.device.start()?);
        let base = load_model(&folder, &device)?;
        match self.adapter()? {
            Some(adapter) => base.load_adapter(adapter),
            None => Ok(base),
        }
    }

    /// The folder of the adapter, if there is one.
    pub(super) fn adapter(&self) -> Result<Option<PathBuf>> {
        Ok(self.fetched(&mut Progress::new())?.adapter)
    }

    /// The tokenizer and chat template that go with a model.
    pub(super) fn chat(&self, model: &Decoder, options: &ChatOptions) -> Result<ChatFormat> {
        let chat = ChatFormat::load_with(&self.folder()?, options)?;
        chat.tokenizer().check_vocab(model.config.vocab_size)?;
        Ok(chat)
    }
}

/// Loads a whole model.
fn load_model(folder: &Path, device: &candle_core::Device) -> Result<Decoder> {
    if model::is_adapter(folder) {
        let base = model::adapter_base(folder).unwrap_or_else(|_| "BASE".to_owned());
        return Err(Error::input("this is an adapter, expected a whole model")
            .file(folder)
            .help(format!("write --model {base} --adapter {}", folder.display())));
    }
    Decoder::load(folder, device)
}

/// What a command computes on.
#[derive(Args)]
pub(super) struct DeviceArgs {
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// Worker threads, 0 for all cores; the results do not depend on it
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
}

impl DeviceArgs {
    /// Starts the worker threads and gives the device.
    pub(super) fn start(&self) -> Result<candle_core::Device> {
        start_threads(self.threads)?;
        model::device(&self.device)
    }
}

/// Starting more takes longer than any work is worth.
const MAX_THREADS: usize = 512;

/// Starts the worker threads, 0 for one on each core.
pub(super) fn start_threads(threads: usize) -> Result<()> {
    if threads > MAX_THREADS {
        return Err(Error::config(format!("{threads} worker threads, expected at most {MAX_THREADS}"))
            .help("0 starts one for each core; more than that is only slower"));
    }
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .map_err(|e| Error::run(format!("the worker threads cannot be started: {e}")))
}

/// Where a command's rows go.
#[derive(Args)]
pub(super) struct OutArgs {
    /// Write the rows to this file, which appears when all are written; else to standard output
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// No progress, only warnings and errors
    #[arg(long, short)]
    quiet: bool,
}

impl OutArgs {
    pub(super) fn progress(&self) -> Progress {
        if self.quiet { Progress::silent() } else { Progress::new() }
    }

    /// Opens the output, before any work that a wrong path would waste. It must be none of the files that are read.
    pub(super) fn open(&self, inputs: &[&Path]) -> Result<RowWriter> {
        match &self.out {
            Some(out) => RowWriter::beside(out, "--out", inputs),
            None => RowWriter::open(None, "--out"),
        }
    }
}

/// Writes JSON Lines, to a file whole or not at all.
pub(super) struct RowWriter {
    target: Target,
}

enum Target {
    /// Standard output, and whether its reader has gone.
    Standard {
        gone: bool,
    },
    File {
        path: PathBuf,
        temporary: PathBuf,
        file: BufWriter<File>,
    },
    /// Not to be replaced: rows go there as they come.
    Device {
        path: PathBuf,
        file: BufWriter<File>,
    },
}

impl RowWriter {
    /// Opens the file that `option` names. It must be none of the files that the command reads or writes besides.
    pub(super) fn beside(path: &Path, option: &str, others: &[&Path]) -> Result<Self> {
        let file = |path: &Path| fs::canonicalize(path).ok().filter(|path| path.is_file());
        if others.iter().any(|other| *other == path || file(other).is_some_and(|other| file(path) == Some(other))) {
            return Err(Error::config(format!("{option} is a file that this command reads or writes besides"))
                .file(path)
                .help("name another file; it would be lost"));
        }
        RowWriter::open(Some(path), option)
    }

    fn open(path: Option<&Path>, option: &str) -> Result<Self> {
        let Some(path) = path else { return Ok(RowWriter { target: Target::Standard { gone: false } }) };
        let wrong = |e: &std::io::Error| Error::io("write", path, e).with_kind(Kind::Io);
        let Some(name) = path.file_name().filter(|_| !path.is_dir()) else {
            return Err(Error::config(format!("this is a folder; {option} takes a file")).file(path));
        };
        let path = match Destination::of(path) {
            Destination::File(path) => path,
            Destination::Device(path) => {
                let file = File::options().write(true).open(&path).map_err(|e| wrong(&e))?;
                return Ok(RowWriter { target: Target::Device { path, file: BufWriter::new(file) } });
            }
        };
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(|e| wrong(&e))?;
        let stem = format!(".{}.", name.to_string_lossy());
        remove_abandoned(folder, &stem);
        let temporary = folder.join(format!("{stem}{}.tmp", std::process::id()));
        let file = File::create(&temporary).map_err(|e| wrong(&e))?;
        // Tells others that it is not abandoned, where the file system has locks.
        let _ = file.try_lock();
        let file = BufWriter::new(file);
        Ok(RowWriter { target: Target::File { path, temporary, file } })
    }

    /// Writes a row. To a standard output whose reader has gone (`creamery … | head`) nothing is written.
    pub(super) fn write(&mut self, row: &impl Serialize) -> Result<()> {
        let mut text =
            serde_json::to_string(row).map_err(|e| Error::run(format!("a result cannot be written as JSON: {e}")))?;
        text.push('\n');
        match &mut self.target {
            Target::Standard { gone: true } => Ok(()),
            Target::Standard { gone } => match std::io::stdout().lock().write_all(text.as_bytes()) {
                Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {
                    *gone = true;
                    Ok(())
                }
                Err(e) => Err(Error::new(Kind::Io, format!("cannot write to standard output: {e}"))),
                Ok(()) => Ok(()),
            },
            Target::File { path, file, .. } | Target::Device { path, file } => {
                file.write_all(text.as_bytes()).map_err(|e| Error::io("write", path, &e).with_kind(Kind::Io))
            }
        }
    }

    /// Writes all rows and ends.
    pub(super) fn write_all<T: Serialize>(mut self, rows: impl IntoIterator<Item = T>) -> Result<()> {
        for row in rows {
            self.write(&row)?;
        }
        self.finish()
    }

    /// Gives the file its name. Rows of a writer that is dropped without this are lost.
    pub(super) fn finish(mut self) -> Result<()> {
        match &mut self.target {
            Target::Standard { gone } => match std::io::stdout().flush() {
                Err(e) if !*gone && e.kind() != std::io::ErrorKind::BrokenPipe => {
                    Err(Error::new(Kind::Io, format!("cannot write to standard output: {e}")))
                }
                _ => Ok(()),
            },
            Target::Device { path, file } => file.flush().map_err(|e| Error::io("write", path, &e).with_kind(Kind::Io)),
            Target::File { path, temporary, file } => (file.flush())
                .and_then(|()| file.get_ref().sync_all())
                .and_then(|()| fs::rename(temporary, &path))
                .map_err(|e| Error::io("write", path, &e).with_kind(Kind::Io)),
        }
    }
}

impl Drop for RowWriter {
    fn drop(&mut self) {
        if let Target::File { temporary, .. } = &self.target {
            // After `finish` there is no such file any more.
            let _ = fs::remove_file(temporary);
        }
    }
}
