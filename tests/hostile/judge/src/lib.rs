//! A judge that breaks the contract in the way its parameter `mode` says.

#[cfg(not(target_family = "wasm"))]
mod native;

use std::hint::black_box;

use creamery_plugin::{
    Answer, Groups, Judge, JudgeContext, JudgeReport, JudgmentPair, Level, Measure, Message, PluginError, Query, Score,
    Step, export_plugin, log,
};

pub struct Hostile {
    mode: String,
}

impl Judge for Hostile {
    fn new(params: &str) -> Result<Self, PluginError> {
        let params: serde_json::Value =
            serde_json::from_str(params).map_err(|e| PluginError::new(format!("bad parameters: {e}")))?;
        let mode = params["mode"].as_str().unwrap_or("good").to_owned();
        match mode.as_str() {
            "refuse-params" => Err(PluginError::new("these parameters do not please me")),
            "panic-in-new" => panic!("no judge today"),
            _ => Ok(Hostile { mode }),
        }
    }

    fn step(&self, _: &JudgeContext, groups: &Groups, _: &[Vec<Answer>]) -> Result<Step, PluginError> {
        let good = || vec![Score::Value(1.0); groups.responses.len()];
        let one = |score| {
            let mut scores = good();
            scores[0] = score;
            Ok(Step::Scores(scores))
        };
        let ask = |query| Ok(Step::Ask(vec![query]));
        let slot = || "judge".to_owned();
        let messages = || vec![Message { role: "user".to_owned(), content: "hello".to_owned() }];
        match self.mode.as_str() {
            "nan" => one(Score::Value(f64::NAN)),
            "by-position" => {
                let places = (0..groups.len()).flat_map(|g| 0..groups.response_range(g).len());
                Ok(Step::Scores(places.map(|place| Score::Value(place as f64)).collect()))
            }
            "infinite" => one(Score::Value(f64::INFINITY)),
            "few" => Ok(Step::Scores(good().split_off(1))),
            "many" => Ok(Step::Scores([good(), good()].concat())),
            // Fails on a few groups only, and gives the others scores without ties.
            "sevens" => {
                if let Some(id) = groups.ids.iter().find(|id| id.ends_with('7')) {
                    panic!("no sevens, please: {id}");
                }
                let sum = |text: &str| text.bytes().fold(0u32, |sum, b| sum * 31 % 65_521 + u32::from(b));
                Ok(Step::Scores(groups.responses.iter().map(|r| Score::Value(f64::from(sum(&r.text)))).collect()))
            }
            #[cfg(not(target_family = "wasm"))]
            "crash-on-sevens" | "exit-on-sevens" | "sleep-on-sevens" | "print-and-score" => {
                let sevens = groups.ids.iter().any(|id| id.ends_with('7'));
                match self.mode.strip_suffix("-on-sevens") {
                    Some("crash") if sevens => native::segfault(),
                    Some(what) => {
                        let _ = sevens && native::misbehave(what);
                    }
                    None => {
                        native::misbehave("print");
                    }
                }
                let sum = |text: &str| text.bytes().fold(0u32, |sum, b| sum * 31 % 65_521 + u32::from(b));
                Ok(Step::Scores(groups.responses.iter().map(|r| Score::Value(f64::from(sum(&r.text)))).collect()))
            }
            // The reasons say what it could do.
            #[cfg(not(target_family = "wasm"))]
            "reach-out" | "reach-out-early" => {
                let early = self.mode == "reach-out-early";
                let mut reached = if early { native::reach_out_early() } else { native::reach_out() }.into_iter();
                let reason = |_: &_| Score::Abstain(reached.next().unwrap_or_else(|| "nothing more".to_owned()));
                Ok(Step::Scores(groups.responses.iter().map(reason).collect()))
            }
            #[cfg(not(target_family = "wasm"))]
            mode if native::misbehave(mode) => Ok(Step::Scores(good())),
            "error" => Err(PluginError::new("I do not feel like judging")),
            "panic" => panic!("the sky is falling on {}", groups.ids[0]),
            "loop" => forever(),
            "loop-on-request" if groups.responses[0].text == "loop" => forever(),
            "memory" => {
                let mut hoard = Vec::new();
                loop {
                    hoard.push(black_box(vec![1u8; 1 << 20]));
                }
            }
            "recurse" => one(Score::Value(deeper(1) as f64)),
            "output" => one(Score::Abstain("x".repeat(8 << 20))),
            "ask-forever" => ask(Query::ResponseLogps { slot: slot(), responses: vec![0] }),
            "ask-nothing" => Ok(Step::Ask(Vec::new())),
            "bad-slot" => ask(Query::ResponseLogps { slot: "oracle".to_owned(), responses: vec![0] }),
            "bad-index" => ask(Query::ResponseLogps { slot: slot(), responses: vec![0, 99] }),
            "no-index" => ask(Query::ResponseLogps { slot: slot(), responses: Vec::new() }),
            "empty-label" => {
                let labels = vec!["yes".to_owned(), String::new()];
                ask(Query::Choose { slot: slot(), messages: messages(), labels })
            }
            "no-labels" => ask(Query::Choose { slot: slot(), messages: messages(), labels: Vec::new() }),
            "no-messages" => ask(Query::TextLogp { slot: slot(), messages: Vec::new(), continuation: "x".to_owned() }),
            "bad-role" => {
                let messages = vec![Message { role: "king".to_owned(), content: String::new() }];
                ask(Query::TextLogp { slot: slot(), messages, continuation: "x".to_owned() })
            }
            "huge-count" | "cold" => {
                let cold = self.mode == "cold";
                ask(Query::Generate {
                    slot: slot(),
                    messages: messages(),
                    count: if cold { 1 } else { u32::MAX },
                    max_new_tokens: 8,
                    temperature: if cold { -1.0 } else { 0.0 },
                    top_p: 1.0,
                })
            }
            "log" => {
                log(Level::Warn, "it is raining: ☔");
                Ok(Step::Scores(good()))
            }
            "cry-wolf" => {
                log(Level::Error, "panicked: not really");
                Ok(Step::Scores(good()))
            }
            "log-flood" | "cry-wolf-flood" => {
                let (level, what) =
                    if self.mode == "log-flood" { (Level::Info, "message") } else { (Level::Error, "panicked: wolf") };
                for i in 0..100_000 {
                    log(level, &format!("{what} {i}"));
                }
                Ok(Step::Scores(good()))
            }
            _ => Ok(Step::Scores(good())),
        }
    }

    /// Expects texts as the first answer.
    fn report(
        &self,
        context: &JudgeContext,
        groups: &Groups,
        answers: &[Vec<Answer>],
    ) -> Result<JudgeReport, PluginError> {
        let mut report = honest(context, groups, answers);
        let measure = |name: &str, sum, count| Measure { name: name.to_owned(), sum, count };
        let pair = |step, query, chosen, rejected| JudgmentPair { step, query, chosen, rejected, weight: 1.0 };
        match self.mode.as_str() {
            "nan-measure" => report.measures[0].sum = f64::NAN,
            "unnamed-measure" => report.measures.push(measure("", 1.0, 1)),
            "measure-twice" => report.measures.push(measure("bytes", 1.0, 1)),
            "measure-of-nothing" => report.measures.push(measure("luck", 1.0, 0)),
            "many-measures" => report.measures.extend((0..1001).map(|i| measure(&format!("m{i}"), 1.0, 1))),
            "no-such-step" => report.pairs.push(pair(9, 0, 0, 1)),
            "no-such-query" => report.pairs.push(pair(0, 99, 0, 1)),
            "no-texts" => report.pairs.push(pair(0, 1, 0, 1)),
            "no-such-text" => report.pairs.push(pair(0, 0, 0, 99)),
            "one-text" => report.pairs.push(pair(0, 0, 1, 1)),
            "equal-texts" => report.pairs.push(pair(0, 0, 0, 2)),
            "pair-twice" => report.pairs.extend([pair(0, 0, 1, 0), pair(0, 0, 1, 0)]),
            "pair-weight" => report.pairs[0].weight = 0.0,
            "report-error" => return Err(PluginError::new("I have nothing to declare")),
            "report-panic" => panic!("the report is on fire"),
            _ => {}
        }
        Ok(report)
    }
}

/// Depends on everything that a report is made from.
fn honest(context: &JudgeContext, groups: &Groups, answers: &[Vec<Answer>]) -> JudgeReport {
    let mut report = JudgeReport::default();
    let (mut bytes, mut all) = (0.5 * f64::from(context.round), 0);
    for (step, answers) in (0..).zip(answers) {
        for (query, answer) in (0..).zip(answers) {
            all += 1;
            let Answer::Texts(texts) = answer else { continue };
            bytes += texts.iter().map(|t| t.text.len() as f64).sum::<f64>();
            let other = texts.iter().position(|t| t.text != texts[0].text);
            if let Some(rejected) = other {
                let weight = 0.1 + texts[rejected].text.len() as f64;
                report.pairs.push(JudgmentPair { step, query, chosen: 0, rejected: rejected as u32, weight });
            }
        }
    }
    report.measures.push(Measure { name: "bytes".to_owned(), sum: bytes, count: all + 1 });
    report.measures.push(Measure {
        name: format!("{} — 回答", context.viewpoint),
        sum: groups.responses.len() as f64,
        count: 1 << 40,
    });
    report
}

fn forever() -> ! {
    loop {
        black_box(0);
    }
}

#[expect(unconditional_recursion, reason = "the host must survive it")]
fn deeper(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    deeper(depth + 1) + frame[(depth % 64) as usize]
}

export_plugin! {
    kind: judge,
    type: Hostile,
    name: "hostile-judge",
    summary: "Breaks the contract, \"on purpose\".",
    schema: r#"{ "type": "object", "properties": { "mode": { "type": "string", "default": "good" } } }"#,
    features: ["from-a-later-version"],
    requires: ["log"],
}
