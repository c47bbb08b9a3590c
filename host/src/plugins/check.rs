//! Every answer of a plugin is checked before the host uses it. An error names the plugin and the function, and
//! says what was found and what was expected.

use creamery_plugin::{
    Answer, Column, Groups, JudgeContext, JudgeReport, Labels, Numbers, ObjectiveBatch, ObjectiveValue, RankContext,
    Ranking, Records, Scores, Sources, Step, contract,
};

use super::{
    Failure, JudgePlugin, LoadOptions, PluginInfo, RankerPlugin, RawJudge, RawRanker, RawRegularizer,
    RegularizerPlugin, Usage,
    log::{self, Speaker},
};
use crate::error::{Error, Kind, Result};

/// How the help begins where an answer breaks the contract.
pub const BROKEN: &str = "the plugin breaks the contract";
/// How the error about too many steps begins.
pub(super) const ASKED_AGAIN: &str = "it asked again after";

/// A plugin whose answers are checked.
pub(super) struct Checked<T> {
    raw: T,
    plugin: Called,
    /// How often a judge may ask.
    steps: usize,
    /// Whether a ranker may still rank without texts.
    by_numbers: bool,
    /// What a ranker gets then, kept for its memory.
    numbers: Numbers,
}

impl<T> Checked<T> {
    pub(super) fn new(raw: T, info: PluginInfo, options: &LoadOptions) -> Self {
        let (steps, speaker) = (options.limits.steps, Speaker::new(info.name(), options));
        Checked { raw, plugin: Called { info, speaker }, steps, by_numbers: true, numbers: Numbers::default() }
    }
}

/// Who is called: its name is in every error, and its messages go to its speaker.
struct Called {
    info: PluginInfo,
    speaker: Speaker,
}

impl Called {
    /// Calls `function` of the plugin and checks what it gives.
    fn call<A>(
        &self,
        function: &str,
        call: impl FnOnce() -> Result<A, Failure>,
        check: impl FnOnce(&A) -> Result<(), String>,
    ) -> Result<A> {
        match log::during(&self.speaker, call) {
            Ok(answer) => match check(&answer) {
                Ok(()) => Ok(answer),
                Err(found) => Err(self.broken(function, &found)),
            },
            Err(failure) => Err(self.failed(function, failure)),
        }
    }

    #[cold]
    fn failed(&self, function: &str, failure: Failure) -> Error {
        let kind = if failure.timed_out { Kind::Run } else { Kind::Plugin };
        let error = self.place(Error::new(kind, format!("{}: {function}: {}", self.info.title(), failure.message)));
        match failure.help {
            Some(help) => error.help(help),
            None => error,
        }
    }

    /// The error of an answer that breaks the contract.
    #[cold]
    fn broken(&self, function: &str, found: &str) -> Error {
        // It may quote the plugin.
        let found = log::tamed(found);
        self.place(Error::plugin(format!("{}: {function}: {found}", self.info.title())))
            .help(format!("{BROKEN}, so its answer is not used; that is for its author to mend"))
    }

    fn place(&self, error: Error) -> Error {
        match &self.info.path {
            Some(path) => error.file(path),
            None => error,
        }
    }

    /// Fails if what the host is about to give to `function` is not what the contract says.
    fn given(&self, function: &str, what: &str, checked: Result<(), String>) -> Result<()> {
        checked.map_err(|found| {
            Error::run(format!("{}: {function}: the {what} given to it are wrong: {found}", self.info.title()))
        })
    }
}

impl JudgePlugin for Checked<Box<dyn RawJudge>> {
    fn info(&self) -> &PluginInfo {
        &self.plugin.info
    }

    fn usage(&self) -> Option<Usage> {
        self.raw.usage()
    }

    fn step(&mut self, context: &JudgeContext, groups: &Groups, answers: &[Vec<Answer>]) -> Result<Step> {
        let limit = self.steps;
        self.plugin.call(
            "step",
            || self.raw.step(context, groups, answers),
            |step| match step {
                Step::Ask(_) if answers.len() >= limit => {
                    Err(format!("{ASKED_AGAIN} {limit} steps, without giving scores (the limit is `max-steps`)"))
                }
                Step::Ask(queries) => contract::queries(queries, context, groups),
                Step::Scores(scores) => contract::scores(scores, groups),
            },
        )
    }

    fn report(&mut self, context: &JudgeContext, groups: &Groups, answers: &[Vec<Answer>]) -> Result<JudgeReport> {
        self.plugin.call(
            "report",
            || self.raw.report(context, groups, answers),
            |report| contract::report(report, answers),
        )
    }
}

impl RankerPlugin for Checked<Box<dyn RawRanker>> {
    fn info(&self) -> &PluginInfo {
        &self.plugin.info
    }

    fn usage(&self) -> Option<Usage> {
        self.raw.usage()
    }

    fn rank(&mut self, context: &RankContext, groups: &Groups, scores: &Scores) -> Result<Ranking> {
        if RankerPlugin::by_numbers(self) {
            self.numbers.fill(groups, scores);
            let ranking = self.plugin.call(
                "rank",
                || self.raw.rank_numbers(context, self.numbers.view()),
                |ranking| ranking.as_ref().map_or(Ok(()), |ranking| contract::ranking(ranking, groups, scores)),
            );
            match ranking? {
                Some(ranking) => return Ok(ranking),
                None => self.by_numbers = false,
            }
        }
        self.rank_texts(context, groups, scores)
    }

    fn by_numbers(&self) -> bool {
        self.by_numbers && self.raw.takes_numbers()
    }

    fn rank_texts(&mut self, context: &RankContext, groups: &Groups, scores: &Scores) -> Result<Ranking> {
        self.plugin.call(
            "rank",
            || self.raw.rank(context, groups, scores),
            |ranking| contract::ranking(ranking, groups, scores),
        )
    }

    fn rank_sources(
        &mut self,
        context: &RankContext,
        groups: &Groups,
        scores: &Scores,
        sources: &Sources,
    ) -> Result<Ranking> {
        self.plugin.given("rank", "sources", contract::sources(sources, groups.responses.len()))?;
        self.plugin.call(
            "rank",
            || self.raw.rank_sources(context, groups, scores, sources),
            |ranking| contract::ranking(ranking, groups, scores),
        )
    }
}

impl RegularizerPlugin for Checked<Box<dyn RawRegularizer>> {
    fn info(&self) -> &PluginInfo {
        &self.plugin.info
    }

    fn usage(&self) -> Option<Usage> {
        self.raw.usage()
    }

    fn label(&mut self, records: &Records) -> Result<Labels> {
        self.plugin.call("label", || self.raw.label(records), |labels| contract::labels(labels, records.pairs.len()))
    }

    fn objective(&mut self, batch: &ObjectiveBatch) -> Result<ObjectiveValue> {
        let pairs = batch.policy_chosen.len();
        self.plugin.call("objective", || self.raw.objective(batch), |value| contract::objective(value, pairs))
    }

    fn columns(&mut self, records: &Records, labels: &Labels) -> Result<Vec<Column>> {
        let pairs = records.pairs.len();
        self.plugin.call("columns", || self.raw.columns(records, labels), |columns| contract::columns(columns, pairs))
    }

    fn objective_columns(&mut self, batch: &ObjectiveBatch, columns: &[Column]) -> Result<ObjectiveValue> {
        let pairs = batch.policy_chosen.len();
        self.plugin.given("objective", "columns", contract::columns(columns, pairs))?;
        self.plugin.call(
            "objective",
            || self.raw.objective_columns(batch, columns),
            |value| contract::objective(value, pairs),
        )
    }

    fn has_objective(&self) -> bool {
        !self.plugin.info.descriptor.has_feature("c-mix")
    }
}
