//! Results in the form of EleutherAI's lm-evaluation-harness 0.4: `results.json` and a file of samples for each task.
//!
//! A task's metric is `exact_match,FILTER`, where the filter is the extractor; its standard error is the sample
//! standard deviation over √n of the rows, `"N/A"` for one row. With several samples to a row the row counts with the
//! share of right ones. Where the rows name more than one task, the file is a group of them. Nothing depends on the
//! time or the machine, so the same evaluation writes the same bytes.

use std::collections::BTreeMap;

use creamery_plugin::Finish;
use serde_json::{Map, Value, json};

use super::{Question, mean, standard_error};
use crate::data::Extractor;
use crate::generate::SamplingConfig;
use crate::report::Table;
use crate::round::SampledGroup;
use crate::round::sample::Draw;

/// What decided the results, beside model and rows.
pub struct Settings {
    /// The model's folder, and that of the adapter on it.
    pub model: String,
    pub adapter: Option<String>,
    /// The file of the rows, and its name without ending, which names the task of rows that name none.
    pub file: String,
    pub stem: String,
    /// "exact", "number", "choice" or "regex".
    pub filter: String,
    pub pattern: Option<String>,
    pub suffix: String,
    /// All rows of the file, by task, of which the first `limit` were used.
    pub rows: BTreeMap<String, usize>,
    pub limit: Option<usize>,
    pub greedy: bool,
    pub samples: usize,
    pub temperature: f64,
    pub top_p: f64,
    pub max_new_tokens: usize,
    pub seed: u64,
}

impl Settings {
    /// The task of a row with or without a name for it.
    pub fn task_name(&self, named: Option<&str>) -> String {
        named.unwrap_or(&self.stem).to_owned()
    }

    /// The streams are those of a run's evaluation, so that both give the same answers.
    pub fn draw(&self) -> Draw<'_> {
        let sampling = SamplingConfig {
            // Of no matter to greedy answers.
            temperature: if self.greedy { 1.0 } else { self.temperature as f32 },
            top_p: if self.greedy { 1.0 } else { self.top_p as f32 },
            greedy: self.greedy,
            max_new_tokens: self.max_new_tokens,
            ..SamplingConfig::default()
        };
        let purpose = if self.greedy { "greedy" } else { "evaluate" };
        Draw { purpose, seed: self.seed, round: 0, n: self.samples, sampling }
    }
}

/// The outcome of an evaluation.
pub struct Report {
    settings: Settings,
    /// In the order of their first rows.
    tasks: Vec<Task>,
    /// Share of right responses to each row of all tasks.
    shares: Vec<f64>,
    truncated: usize,
    responses: usize,
}

struct Task {
    name: String,
    /// Share of right responses to each row.
    shares: Vec<f64>,
    samples: Vec<Value>,
}

impl Report {
    /// `groups` holds the responses to each question, in order.
    pub fn new(settings: Settings, extractor: &Extractor, questions: &[Question], groups: &[SampledGroup]) -> Self {
        let mut report = Report { settings, tasks: Vec::new(), shares: Vec::new(), truncated: 0, responses: 0 };
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        for (number, (question, group)) in questions.iter().zip(groups).enumerate() {
            let name = report.settings.task_name(question.task.as_deref());
            let place = *places.entry(name.clone()).or_insert_with(|| {
                report.tasks.push(Task { name, shares: Vec::new(), samples: Vec::new() });
                report.tasks.len() - 1
            });
            let right = group.responses.iter().filter(|r| question.is_right(extractor, &r.text)).count();
            let share = right as f64 / group.responses.len() as f64;
            report.responses += group.responses.len();
            report.truncated += group.responses.iter().filter(|r| r.finish == Finish::Length).count();
            let sample = report.sample(number, extractor, question, group, share);
            report.shares.push(share);
            let task = &mut report.tasks[place];
            task.shares.push(share);
            task.samples.push(sample);
        }
        report
    }

    fn sample(
        &self,
        number: usize,
        extractor: &Extractor,
        question: &Question,
        group: &SampledGroup,
        share: f64,
    ) -> Value {
        let texts: Vec<&str> = group.responses.iter().map(|r| r.text.as_str()).collect();
        // lm-eval's word for a response in which a filter finds nothing.
        let read = |text: &&str| question.read(extractor, text).unwrap_or_else(|| "[invalid]".to_owned());
        let filtered: Vec<String> = texts.iter().map(read).collect();
        let mut doc = json!({ "id": group.id, "prompt": group.prompt, "answer": question.answer });
        if let Some(task) = &question.task {
            doc["task"] = json!(task);
        }
        if !question.choices.is_empty() {
            doc["choices"] = json!(question.choices);
        }
        json!({
            "doc_id": number,
            "doc": doc,
            "target": extractor.known(&question.answer, &question.choices),
            "arguments": { "gen_args_0": { "arg_0": group.prompt, "arg_1": self.generation() } },
            "resps": [texts],
            "filtered_resps": filtered,
            "finish": group.responses.iter().map(|r| r.finish).collect::<Vec<_>>(),
            "filter": self.settings.filter,
            "metrics": ["exact_match"],
            "exact_match": share,
        })
    }

    /// Generation settings under lm-eval's names.
    fn generation(&self) -> Value {
        let s = &self.settings;
        let mut settings = json!({ "do_sample": !s.greedy, "max_gen_toks": s.max_new_tokens, "until": [] });
        if !s.greedy {
            settings["temperature"] = json!(s.temperature);
            settings["top_p"] = json!(s.top_p);
        }
        settings
    }

    /// The name of all tasks together, if there are several.
    fn group(&self) -> Option<String> {
        let taken = |name: &str| self.tasks.iter().any(|task| task.name == name);
        let mut name = self.settings.stem.clone();
        while taken(&name) {
            name = format!("all {name}");
        }
        (self.tasks.len() > 1).then_some(name)
    }

    /// Names with the shares of their rows, the group of all first.
    fn lines(&self) -> Vec<(String, &[f64])> {
        let group = self.group().map(|name| (name, self.shares.as_slice()));
        group.into_iter().chain(self.tasks.iter().map(|task| (task.name.clone(), task.shares.as_slice()))).collect()
    }

    /// The content of `results.json`.
    pub fn json(&self) -> Value {
        let s = &self.settings;
        let (metric, error) = (format!("exact_match,{}", s.filter), format!("exact_match_stderr,{}", s.filter));
        let mut results = Map::new();
        for (name, shares) in self.lines() {
            let spread = if shares.len() < 2 { json!("N/A") } else { json!(standard_error(shares)) };
            let row = json!({ "alias": name, metric.as_str(): mean(shares), error.as_str(): spread });
            results.insert(name, row);
        }
        let mut subtasks = Map::new();
        let mut groups = Map::new();
        match self.group() {
            Some(group) => {
                groups.insert(group.clone(), results[&group].clone());
                subtasks.insert(group, self.tasks.iter().map(|task| task.name.clone()).collect());
            }
            None => subtasks.extend(self.tasks.iter().map(|task| (task.name.clone(), json!([])))),
        }
        let by_task = |of: &dyn Fn(&Task) -> Value| -> Map<String, Value> {
            self.tasks.iter().map(|task| (task.name.clone(), of(task))).collect()
        };
        let mut json = json!({ "results": results });
        if !groups.is_empty() {
            json["groups"] = groups.into();
        }
        json["group_subtasks"] = subtasks.into();
        json["configs"] = by_task(&|task| self.config(task)).into();
        // Of the form of the rows.
        json["versions"] = by_task(&|_| json!(1)).into();
        json["n-shot"] = by_task(&|_| json!(0)).into();
        json["higher_is_better"] = by_task(&|_| json!({ "exact_match": true })).into();
        json["n-samples"] =
            by_task(&|task| json!({ "original": s.rows.get(&task.name), "effective": task.shares.len() })).into();
        let mut model_args = json!({ "pretrained": s.model });
        if let Some(adapter) = &s.adapter {
            model_args["peft"] = json!(adapter);
        }
        json["config"] = json!({
            "model": "creamery",
            "model_args": model_args,
            "limit": s.limit,
            "gen_kwargs": self.generation(),
            "random_seed": s.seed,
        });
        json["creamery_version"] = json!(env!("CARGO_PKG_VERSION"));
        json["model_source"] = json!("creamery");
        // lm-eval takes the adapter's name before the base's.
        json["model_name"] = json!(s.adapter.as_ref().unwrap_or(&s.model));
        json
    }

    fn config(&self, task: &Task) -> Value {
        let s = &self.settings;
        let mut filter = json!({ "function": s.filter });
        if let Some(pattern) = &s.pattern {
            filter["regex_pattern"] = json!(pattern);
        }
        json!({
            "task": task.name,
            "dataset_path": s.file,
            "output_type": "generate_until",
            "description": "",
            "doc_to_target": "answer",
            "prompt_suffix": s.suffix,
            "num_fewshot": 0,
            "repeats": s.samples,
            "metric_list": [{ "metric": "exact_match", "aggregation": "mean", "higher_is_better": true }],
            "filter_list": [{ "name": s.filter, "filter": [filter] }],
            "generation_kwargs": self.generation(),
        })
    }

    /// File names and rows of each task's samples. Two tasks whose names differ only in characters that a file name
    /// should not have get a number.
    pub fn samples(&self) -> Vec<(String, &[Value])> {
        let mut files: Vec<(String, &[Value])> = Vec::new();
        for task in &self.tasks {
            let plain = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
            let stem: String = task.name.chars().map(plain).collect();
            let mut name = format!("samples_{stem}.jsonl");
            let mut number = 2;
            while files.iter().any(|(other, _)| other.to_lowercase() == name.to_lowercase()) {
                name = format!("samples_{stem}_{number}.jsonl");
                number += 1;
            }
            files.push((name, &task.samples));
        }
        files
    }

    pub fn table(&self) -> String {
        let mut table = Table::new(&["task", "rows", "exact_match", "stderr"]);
        for (name, shares) in self.lines() {
            let spread = if shares.len() < 2 { "–".to_owned() } else { format!("{:.4}", standard_error(shares)) };
            table.row([name, shares.len().to_string(), format!("{:.4}", mean(shares)), spread]);
        }
        table.render()
    }

    /// A warning where the token limit cut responses off, which then may have no answer.
    pub fn warning(&self) -> Option<String> {
        let (cut, all, limit) = (self.truncated, self.responses, self.settings.max_new_tokens);
        (cut > 0)
            .then(|| format!("{cut} of {all} responses were cut off, at most {limit} tokens each (--max-new-tokens)"))
    }
}
