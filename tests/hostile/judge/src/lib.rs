//! A judge that breaks the contract in the way its parameter `mode` says.

use std::hint::black_box;

use creamery_plugin::{
    Answer, Groups, Judge, JudgeContext, Level, Message, PluginError, Query, Score, Step, export_plugin, log,
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
            "log-flood" => {
                for i in 0..100_000 {
                    log(Level::Info, &format!("message {i}"));
                }
                Ok(Step::Scores(good()))
            }
            _ => Ok(Step::Scores(good())),
        }
    }
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
