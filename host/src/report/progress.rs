//! Progress of the stages: bars on a terminal, a few plain lines elsewhere. Always on standard error, so that
//! standard output holds results only. A run's progress is also written to its folder, for `creamery watch`.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{DecimalBytes, MultiProgress, ProgressBar, ProgressStyle};

use super::live::Live;
use crate::error::Error;

/// Between two plain lines about one stage.
const EVERY: Duration = Duration::from_secs(5);

const WAITING: &str = "{spinner} {prefix} {elapsed}";
const COUNT: &str = "{spinner} {prefix} [{bar:30}] {pos}/{len} {elapsed}, {eta} left {msg}";
const BYTES: &str =
    "{spinner} {prefix} [{bar:30}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec}, {eta} left {msg}";

/// Shows one stage at a time.
pub struct Progress {
    output: Output,
    stage: Option<Stage>,
    /// Of a run: what it tells of itself in its folder.
    live: Option<Live>,
}

enum Output {
    Silent,
    Bars(MultiProgress),
    Lines(Box<dyn Write + Send>),
}

struct Stage {
    label: String,
    bar: Option<ProgressBar>,
    counting: bool,
    /// When the last plain line was written.
    shown: Instant,
}

impl Progress {
    /// Bars if standard error is a terminal, else plain lines.
    pub fn new() -> Progress {
        if std::io::stderr().is_terminal() {
            Progress { output: Output::Bars(MultiProgress::new()), stage: None, live: None }
        } else {
            Progress::lines(std::io::stderr())
        }
    }

    pub fn silent() -> Progress {
        Progress { output: Output::Silent, stage: None, live: None }
    }

    /// Plain lines to `writer`. That it cannot be written does not stop a run.
    pub fn lines(writer: impl Write + Send + 'static) -> Progress {
        Progress { output: Output::Lines(Box::new(writer)), stage: None, live: None }
    }

    /// From here on until [`Progress::close`], what happens is written to `progress.json` in `folder` as well. The `plan`
    /// has the labels of the stages that will come, as far as they are known.
    pub fn record(&mut self, folder: &Path, name: &str, seed: u64, plan: Vec<String>) {
        let say = self.speaker();
        let warn = move |message: &str| say(&format!("warning: {message}"));
        self.live = Some(Live::new(folder, name, seed, plan, warn));
    }

    /// What was recorded ends: well, or with an error.
    pub fn close(&mut self, error: Option<&Error>) {
        if let Some(live) = self.live.take() {
            live.end(error.map(Error::to_string));
        }
    }

    /// A stage begins. One that has not ended was broken off, and its bar goes.
    pub fn start(&mut self, label: &str) {
        self.abandon();
        if let Some(live) = &mut self.live {
            live.start(label);
        }
        let bar = match &mut self.output {
            Output::Bars(bars) => {
                let bar = bars.add(ProgressBar::new_spinner().with_prefix(label.to_owned()));
                bar.set_style(style(WAITING));
                bar.enable_steady_tick(Duration::from_millis(200));
                Some(bar)
            }
            Output::Lines(writer) => {
                line(writer, &format!("{label} …"));
                None
            }
            Output::Silent => None,
        };
        self.stage = Some(Stage { label: label.to_owned(), bar, counting: false, shown: Instant::now() });
    }

    /// The stage has done `done` of `all`.
    pub fn update(&mut self, done: usize, all: usize) {
        self.update_with(done, all, "");
    }

    /// The same, with a few words: "loss 0.6931".
    pub fn update_with(&mut self, done: usize, all: usize, words: &str) {
        self.count(done, all, words, "rows");
    }

    /// A step of training and its metrics; the words are for a line: "loss 0.6931".
    pub fn step(&mut self, step: usize, all: usize, words: &str, values: &[(&str, f64)]) {
        self.count(step, all, words, "steps");
        if let Some(live) = &mut self.live {
            live.change(|working| {
                working.metrics(step as u64, values);
                if let Some((_, tokens)) = values.iter().find(|(name, _)| *name == "num_tokens") {
                    working.tokens(*tokens as u64);
                }
            });
        }
    }

    /// The stage has dealt with so many tokens.
    pub fn tokens(&mut self, tokens: usize) {
        if let Some(live) = &mut self.live {
            live.change(|working| working.tokens(tokens as u64));
        }
    }

    /// A sample is of use now: somebody may watch, and the last one was written.
    pub fn wants_sample(&self) -> bool {
        self.live.as_ref().is_some_and(Live::wants_sample)
    }

    /// What was drawn last.
    pub fn sample(&mut self, prompt: &str, response: &str) {
        if let Some(live) = &mut self.live {
            live.change(|working| working.sample(prompt, response));
        }
    }

    fn count(&mut self, done: usize, all: usize, words: &str, unit: &str) {
        let (done, all) = (done as u64, all as u64);
        if let Some(live) = &mut self.live {
            live.change(|working| working.update(done, all, unit));
        }
        self.show(done, all, words, COUNT, |n| n.to_string());
    }

    /// The same of bytes.
    pub fn update_bytes(&mut self, done: u64, all: u64, words: &str) {
        if let Some(live) = &mut self.live {
            live.change(|working| working.update(done, all, "bytes"));
        }
        self.show(done, all, words, BYTES, |n| DecimalBytes(n).to_string());
    }

    fn show(&mut self, done: u64, all: u64, words: &str, template: &str, text: fn(u64) -> String) {
        let Some(stage) = &mut self.stage else { return };
        if let Some(bar) = &stage.bar {
            if !stage.counting {
                bar.set_style(style(template));
                stage.counting = true;
            }
            bar.set_length(all);
            bar.set_position(done);
            bar.set_message(words.to_owned());
        }
        if let Output::Lines(writer) = &mut self.output
            && stage.shown.elapsed() >= EVERY
        {
            let gap = if words.is_empty() { "" } else { ", " };
            line(writer, &format!("{}: {}/{}{gap}{words}", stage.label, text(done), text(all)));
            stage.shown = Instant::now();
        }
    }

    /// The stage ends: made just now, or `reused` from the store, where it had taken `seconds` to make.
    pub fn finish(&mut self, reused: bool, seconds: f64) {
        if let Some(live) = &mut self.live {
            live.change(|working| working.finish(reused, seconds));
        }
        let Some(stage) = self.stage.take() else { return };
        if let Some(bar) = stage.bar {
            bar.finish_and_clear();
        }
        match reused {
            true => self.line(&format!("{}: reused, it took {seconds:.1} s", stage.label)),
            false => self.line(&format!("{}: {seconds:.1} s", stage.label)),
        }
    }

    /// One line, above the bars.
    pub fn line(&mut self, text: &str) {
        match &mut self.output {
            Output::Silent => {}
            Output::Bars(bars) => {
                let _ = bars.println(text);
            }
            Output::Lines(writer) => line(writer, text),
        }
    }

    /// A function that writes warnings so that no bar is disturbed. A silent progress warns as well.
    pub fn warner(&self) -> impl Fn(&str) + Send + Sync + use<> {
        let (say, live) = (self.speaker(), self.live.as_ref().map(Live::shared));
        move |message| {
            if let Some(live) = &live {
                live.warning(message);
            }
            say(&format!("warning: {message}"));
        }
    }

    /// A function that writes news so that no bar is disturbed. A silent progress keeps them to itself.
    pub fn teller(&self) -> impl Fn(&str) + Send + Sync + use<> {
        let (say, silent) = (self.speaker(), matches!(self.output, Output::Silent));
        move |message| {
            if !silent {
                say(message);
            }
        }
    }

    fn speaker(&self) -> impl Fn(&str) + Send + Sync + use<> {
        let bars = match &self.output {
            Output::Bars(bars) => Some(bars.clone()),
            Output::Lines(_) | Output::Silent => None,
        };
        move |message| {
            let write = || line(&mut std::io::stderr(), message);
            match &bars {
                Some(bars) => bars.suspend(write),
                None => write(),
            }
        }
    }

    fn abandon(&mut self) {
        if let Some(Stage { bar: Some(bar), .. }) = self.stage.take() {
            bar.finish_and_clear();
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Progress::new()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.abandon();
    }
}

fn line(writer: &mut dyn Write, text: &str) {
    let _ = writeln!(writer, "{text}").and_then(|()| writer.flush());
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates of this file are valid").progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::{BYTES, COUNT, Progress, WAITING, style};

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn plain_lines_are_few() {
        let page = Page::default();
        let mut progress = Progress::lines(page.clone());
        progress.update(1, 2); // before any stage: nothing to say
        progress.start("round 1: sample");
        for done in 0..1000 {
            progress.update(done, 1000);
        }
        progress.finish(false, 1.25);
        progress.start("round 1: judge");
        progress.finish(true, 2.0);
        progress.line("done");
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = text.lines().filter(|l| !l.contains("/1000")).collect();
        assert_eq!(
            lines,
            [
                "round 1: sample …",
                "round 1: sample: 1.2 s",
                "round 1: judge …",
                "round 1: judge: reused, it took 2.0 s",
                "done"
            ]
        );
        assert!(text.lines().count() < 20, "{text}");
    }

    #[test]
    fn a_writer_that_fails_stops_nothing() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let mut progress = Progress::lines(Broken);
        progress.start("sample");
        progress.finish(false, 0.0);
    }

    #[test]
    fn templates_are_valid() {
        for template in [WAITING, COUNT, BYTES] {
            style(template);
        }
    }
}
