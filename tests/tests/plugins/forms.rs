//! One source, three forms: native library, component, linked in. All give the same bits.

use creamery::plugins::{JudgePlugin, Kind};
use creamery_plugin::objective::c_mix;
use creamery_plugin::*;
use serde_json::json;

use super::*;

/// A template that uses much of the language.
const TEMPLATE: &str = "{% for m in messages %}\n{{ loop.index }} {{ m.role | title }}: {{ m.content }}\n{% endfor %}{% set n = responses | length %}{{ n }} {{ (n / 3) | round(2) }} {{ scale_max }} \
    {{ responses | sort | join('; ') }} {{ {'b': 1, 'a': 2} }} <{{ response }}>";

#[test]
fn every_plugin_loads_in_every_form() {
    let cases = [
        ("implicit-reward", Kind::Judge),
        ("rubric", Kind::Judge),
        ("expected-score", Kind::Judge),
        ("pairwise", Kind::Judge),
        ("meta-judge", Kind::Judge),
        ("vote", Kind::Judge),
        ("labels", Kind::Judge),
        ("program", Kind::Judge),
        ("best-worst", Kind::Ranker),
        ("best-random", Kind::Ranker),
        ("top-bottom", Kind::Ranker),
        ("all-pairs", Kind::Ranker),
        ("each", Kind::Ranker),
        ("temporal", Kind::Ranker),
        ("ensemble", Kind::Ranker),
        ("cream", Kind::Regularizer),
        ("none", Kind::Regularizer),
        ("constant", Kind::Regularizer),
        ("filter", Kind::Regularizer),
        ("confidence", Kind::Regularizer),
        ("signed-weight", Kind::Regularizer),
        ("disagreement", Kind::Regularizer),
        ("vote-margin", Kind::Regularizer),
        ("sppo", Kind::Regularizer),
        ("preference-loss", Kind::Regularizer),
    ];
    for (name, kind) in cases {
        // The only parameter without which a plugin cannot be.
        let none = if name == "labels" { json!({"answers": LABELS}) } else { json!({}) };
        let mut params = Vec::new();
        for form in FORMS {
            let info = match kind {
                Kind::Judge => judge(name, form, &none).map(|p| p.info().clone()),
                Kind::Ranker => ranker(name, form, &none).map(|p| p.info().clone()),
                Kind::Regularizer => regularizer(name, form, &none).map(|p| p.info().clone()),
            };
            let info = info.unwrap_or_else(|e| panic!("{name} as {form}: {e}"));
            assert_eq!((info.name(), info.descriptor.kind, info.artifact()), (name, kind, form));
            assert_eq!((info.descriptor.abi, info.descriptor.api.as_str()), ((1, 1), creamery_plugin::API_VERSION));
            assert!(!info.descriptor.summary.is_empty() && !info.descriptor.panic_aborts);
            assert_eq!(info.digest.len(), 64);
            assert_eq!(info.path.is_some(), form != Artifact::Builtin);
            params.push(info.params.to_string());
        }
        assert!(params.iter().all(|p| *p == params[0]), "{name}: the forms have different schemas");
    }
}

/// Answers to the first prompts of [`Random::groups`].
const LABELS: &str = r#"{"id": "prompt-0", "answer": 42}
{"id": "prompt-2", "answer": "7", "choices": ["a long answer", "7"]}"#;

/// Judges that generate, ask for log-probabilities and read answers, over inputs with ties, Unicode, no groups, many
/// groups, failed answers and answers that are not finite.
#[test]
fn judges_give_the_same_bits_in_every_form() {
    let cases = [
        ("implicit-reward", json!({})),
        ("implicit-reward", json!({"normalization": "mean", "reference": "initial"})),
        ("implicit-reward", json!({"score": "mean-likelihood"})),
        ("implicit-reward", json!({"reference-compat": "mixed"})),
        ("implicit-reward", json!({"length-penalty": "auto", "normalization": "mean"})),
        ("vote", json!({})),
        ("vote", json!({"extractor": "number", "score": "count", "require-complete": false})),
        ("labels", json!({"extractor": "number", "answers": LABELS})),
        ("program", json!({"slot": "judge", "marker": "score:", "range": [0, 50]})),
        ("rubric", json!({})),
        ("rubric", json!({"k": 2, "min-parsed": 2, "prompt": "Ärger 🍦 {{ prompt }} / {{ response }}"})),
        ("rubric", json!({"k": 2, "parse": "first", "system": TEMPLATE, "prompt": "{{ response | upper }}"})),
        ("expected-score", json!({})),
        ("pairwise", json!({})),
        ("pairwise", json!({"aggregate": "bradley-terry", "disagreement": "mean", "labels": ["A", "B", "C"]})),
        (
            "pairwise",
            json!({"aggregate": "win-rate", "ask": "generate", "verdicts": ["Score: 3", "4.5"], "orders": "one"}),
        ),
        ("meta-judge", json!({"per-group": 2, "max-length-ratio": 0})),
        ("meta-judge", json!({"meta-ask": "generate", "meta-verdicts": ["3", "4.5"], "position-weight": false})),
        ("expected-score", json!({"labels": ["ja", "nein"], "values": [0.1, -0.3], "prompt": TEMPLATE})),
    ];
    let mut outcomes = std::collections::BTreeSet::new();
    for (name, params) in cases {
        let mut forms: Vec<_> = FORMS.iter().map(|form| judge(name, *form, &params).unwrap()).collect();
        for seed in 0..24 {
            let groups = Random(seed).groups();
            let mut context = context();
            if seed % 3 == 0 {
                context.slots[0].model = "m0".to_owned();
            }
            let runs: Vec<_> = forms.iter_mut().map(|j| run_judge(&mut **j, &context, &groups, seed)).collect();
            assert_eq!(runs[0], runs[1], "{name} {params} seed {seed}: native and component differ");
            assert_eq!(runs[0], runs[2], "{name} {params} seed {seed}: native and builtin differ");
            outcomes.insert(runs[0].contains("Abstain"));
        }
    }
    assert_eq!(outcomes.len(), 2, "the inputs should lead to abstentions, but not always");
}

#[test]
fn rankers_give_the_same_bits_in_every_form() {
    let cases = [
        ("best-worst", json!({})),
        ("best-worst", json!({"on-tie": "drop", "deduplicate": false})),
        ("best-worst", json!({"min-margin": 0.5, "require-complete": true})),
        ("best-worst", json!({"on-tie": "random", "length-control": 0.3})),
        ("best-random", json!({"on-tie": "random"})),
        ("top-bottom", json!({"top": 3, "weights": "share", "on-tie": "random"})),
        ("all-pairs", json!({"min-margin": 0.1, "weights": "share"})),
        ("each", json!({})),
        ("temporal", json!({"on-tie": "random"})),
        ("ensemble", json!({"combine": "mean-std", "k": 0.7})),
        ("ensemble", json!({"combine": "mean-variance", "missing": "ignore", "standardize": false})),
    ];
    for (name, params) in cases {
        let mut forms: Vec<_> = FORMS.iter().map(|form| ranker(name, *form, &params).unwrap()).collect();
        for seed in 0..24 {
            let mut random = Random(seed);
            let groups = random.groups();
            let scores = random.scores(groups.responses.len());
            let context = RankContext { round: 2, seed };
            let responses = (0..groups.responses.len()).map(|_| random.below(2) as u32).collect();
            let sources = Sources { names: vec!["current".to_owned(), "M1".to_owned()], responses };
            let rank = |r: &mut Box<dyn RankerPlugin>| match name {
                "temporal" => shown(r.rank_sources(&context, &groups, &scores, &sources)),
                _ => shown(r.rank(&context, &groups, &scores)),
            };
            let runs: Vec<_> = forms.iter_mut().map(rank).collect();
            assert_eq!(runs[0], runs[1], "{name} {params} seed {seed}: native and component differ");
            assert_eq!(runs[0], runs[2], "{name} {params} seed {seed}: native and builtin differ");
            assert!(runs[0].starts_with("Ok("), "{}", runs[0]);
        }
    }
}

#[test]
fn regularizers_give_the_same_bits_in_every_form() {
    let cases = [
        ("none", json!({})),
        ("cream", json!({})),
        ("cream", json!({"form": "sample", "clamp": [0.5, 1.0], "undefined": "half"})),
        ("cream", json!({"reference-compat": "ordinal"})),
        ("cream", json!({"measure": "spearman", "running": "ema", "undefined": "half"})),
        ("cream", json!({"measure": "top-order", "viewpoints": ["previous", 0], "form": "sample"})),
        ("cream", json!({"measure": "rbo", "rbo-p": 0.9, "viewpoints": "all", "form": "sample"})),
        ("cream", json!({"form": "bucketed", "min-bucket": 2, "running": "mean", "undefined": "half"})),
        ("cream", json!({"form": "bucketed", "bucket": "length", "min-bucket": 1, "undefined": "half"})),
        ("constant", json!({"c": 0.7})),
        ("filter", json!({"measure": "rbo", "threshold": 0.3})),
        ("confidence", json!({})),
        ("confidence", json!({"temperature": 0.3})),
        ("signed-weight", json!({"form": "sample", "undefined": "half"})),
        ("disagreement", json!({})),
        ("disagreement", json!({"rule": "vote"})),
        ("vote-margin", json!({})),
        ("vote-margin", json!({"votes": "count"})),
        ("sppo", json!({})),
        ("preference-loss", json!({"loss": "cream", "nll-weight": 0.1})),
        ("preference-loss", json!({"loss": "ipo"})),
        ("preference-loss", json!({"loss": "ipo-sequence"})),
        ("preference-loss", json!({"loss": "hinge"})),
        ("preference-loss", json!({"loss": "robust"})),
        ("preference-loss", json!({"loss": "simpo"})),
        ("preference-loss", json!({"loss": "orpo"})),
        ("preference-loss", json!({"loss": "sppo-hard"})),
    ];
    let own = ["signed-weight", "vote-margin", "sppo", "preference-loss"];
    let mut pairing = ranker("best-worst", Artifact::Builtin, &json!({})).unwrap();
    for (name, params) in cases {
        let mut forms: Vec<_> = FORMS.iter().map(|form| regularizer(name, *form, &params).unwrap()).collect();
        for seed in 0..24 {
            let mut random = Random(seed);
            let groups = random.groups();
            let mut scores = random.scores(groups.responses.len());
            if matches!(name, "sppo" | "vote-margin") && seed % 4 > 0 {
                shares(&mut scores);
            }
            let ranking = pairing.rank(&RankContext { round: 2, seed }, &groups, &scores).unwrap();
            let metrics = vec![Metric { name: "consistency".to_owned(), value: random.unit() }];
            let history = vec![RoundRecord { round: 1, pairs: 7, metrics }];
            let Ranking { ranks, pairs, .. } = ranking;
            let records = Records { round: 2, groups, scores, ranks, pairs, history };
            let batch = random.batch();
            let labels: Vec<_> = forms.iter_mut().map(|r| shown(r.label(&records))).collect();
            assert_eq!(labels[0], labels[1], "{name} {params} seed {seed}: native and component differ");
            assert_eq!(labels[0], labels[2], "{name} {params} seed {seed}: native and builtin differ");
            let values: Vec<_> = forms.iter_mut().map(|r| shown(r.objective(&batch))).collect();
            assert_eq!(values[0], values[1], "{name} {params} seed {seed}: native and component differ");
            assert_eq!(values[0], values[2], "{name} {params} seed {seed}: native and builtin differ");
            if !own.contains(&name) {
                assert_eq!(values[0], format!("Ok({:?})", c_mix(&batch)), "{name}");
            }
            for form in &forms {
                assert_eq!(form.has_objective(), own.contains(&name), "{name}: what it says of its objective");
            }
        }
    }
}

#[test]
fn an_objective_of_its_own_is_called() {
    let batch = Random(5).batch();
    let doubled: Vec<f64> = c_mix(&batch).loss.iter().map(|l| l * 2.0).collect();
    for form in [Artifact::Native, Artifact::Component] {
        let mut plugin = regularizer("hostile-regularizer", form, &json!({"mode": "double"})).unwrap();
        assert!(plugin.has_objective());
        assert_eq!(plugin.objective(&batch).unwrap().loss, doubled);
    }
}

/// Makes shares of the scores: from 0 to 1.
fn shares(scores: &mut Scores) {
    for score in &mut scores.scores {
        if let Score::Value(v) = score {
            *v = (0.5 + *v / 10.0).clamp(0.0, 1.0);
        }
    }
}

/// Runs a judge to its end; the text shows all it asked and gave, every float with all its bits.
pub fn run_judge(judge: &mut dyn JudgePlugin, context: &JudgeContext, groups: &Groups, seed: u64) -> String {
    let mut answers = Vec::new();
    let mut text = String::new();
    loop {
        let step = judge.step(context, groups, &answers);
        let queries = match &step {
            Ok(Step::Ask(queries)) => queries.clone(),
            _ => Vec::new(),
        };
        let done = matches!(step, Ok(Step::Scores(_)));
        text.push_str(&shown(step));
        if done {
            text.push_str(&shown(judge.report(context, groups, &answers)));
        }
        if queries.is_empty() {
            return text;
        }
        answers.push(queries.iter().enumerate().map(|(i, q)| answer(q, seed.wrapping_mul(1000) + i as u64)).collect());
    }
}

pub fn answer(query: &Query, seed: u64) -> Answer {
    let mut random = Random(seed);
    if random.below(20) == 0 {
        return Answer::Failed("the prompt is too long".to_owned());
    }
    match query {
        Query::ResponseLogps { responses, .. } => {
            let sums = [-12.5, -3.25, -0.0, -1e300, f64::NEG_INFINITY, f64::NAN];
            let logp = |r: &u32| match random.below(12) {
                // Not finite, in every tenth run.
                0 if seed % 10 < 2 => sums[4 + random.below(2) as usize],
                k if k < 5 => sums[(*r as usize + k as usize) % 3],
                _ => -50.0 * random.unit(),
            };
            let sums: Vec<f64> = responses.iter().map(logp).collect();
            Answer::Logps(sums.into_iter().map(|sum| Logp { sum, tokens: 1 + random.below(9) as u32 }).collect())
        }
        Query::TextLogp { .. } => Answer::Logps(vec![Logp { sum: -random.unit(), tokens: 3 }]),
        Query::Generate { count, .. } => {
            let texts = [
                "Score: 3",
                "good!\nScore: 4.5 ",
                "no idea",
                "Score: 99",
                "score: 2 … or Score: 1",
                "分数 Score: ５",
                "",
            ];
            let mut generated = || Generated {
                text: texts[random.below(texts.len() as u64) as usize].to_owned(),
                finish: if random.below(4) == 0 { Finish::Length } else { Finish::Stop },
            };
            Answer::Texts((0..*count).map(|_| generated()).collect())
        }
        Query::Choose { labels, .. } => Answer::Distribution(labels.iter().map(|_| random.unit()).collect()),
    }
}

/// The result as text, without the name of the plugin's form and file.
pub fn shown<T: std::fmt::Debug>(result: creamery::Result<T>) -> String {
    match result {
        Ok(value) => format!("Ok({value:?})"),
        Err(e) => {
            let mut text = e.message().to_owned();
            for form in FORMS {
                text = text.replace(&format!("({form})"), "(form)");
            }
            format!("Err({text})")
        }
    }
}

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// In [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn groups(&mut self) -> Groups {
        let texts =
            ["42", "42", "", "Ünïcödé 🍦", "\u{0}\n\"\\", "e\u{301}", "a long answer, all things considered", "7"];
        let mut groups = Groups { message_offsets: vec![0], response_offsets: vec![0], ..Groups::default() };
        let count = [0, 1, 2, 7, 40][self.below(5) as usize];
        for g in 0..count {
            let responses = (0..1 + self.below(6))
                .map(|_| Response {
                    text: texts[self.below(texts.len() as u64) as usize].to_owned(),
                    tokens: 1 + self.below(30) as u32,
                    finish: if self.below(4) == 0 { Finish::Length } else { Finish::Stop },
                })
                .collect();
            let system = Message { role: "system".to_owned(), content: "Be brief. 要简短。".to_owned() };
            let user = Message { role: "user".to_owned(), content: format!("What is {g} + 1?") };
            let prompt = if self.below(2) == 0 { vec![user] } else { vec![system, user] };
            groups.push(format!("prompt-{g}"), prompt, responses);
        }
        groups
    }

    pub fn scores(&mut self, responses: usize) -> Scores {
        let viewpoints: Vec<String> = ["current", "previous"].iter().map(|s| s.to_string()).collect();
        let score = |random: &mut Random| match random.below(8) {
            0 => Score::Abstain("no opinion — 無".to_owned()),
            k @ 1..4 => Score::Value([0.0, -0.0, 1.5][k as usize - 1]),
            _ => Score::Value(random.unit() * 10.0 - 5.0),
        };
        let scores = (0..viewpoints.len() * responses).map(|_| score(self)).collect();
        Scores { viewpoints, scores }
    }

    pub fn batch(&mut self) -> ObjectiveBatch {
        let count = self.below(40) as usize;
        let mut numbers = |scale: f64| -> Vec<f64> { (0..count).map(|_| -scale * self.unit()).collect() };
        // Some margins are so large that e^z overflows if it is computed naively.
        let (policy_chosen, policy_rejected) = (numbers(50.0), numbers(2e5));
        let (reference_chosen, reference_rejected) = (numbers(50.0), numbers(50.0));
        let positive = |list: Vec<f64>| list.into_iter().map(|x| -x).collect();
        let (consistency, weight) = (positive(numbers(1.0)), positive(numbers(2.0)));
        let tokens: Vec<u32> = (1..=count as u32).collect();
        ObjectiveBatch {
            beta: 0.1,
            policy_chosen,
            policy_rejected,
            reference_chosen,
            reference_rejected,
            chosen_tokens: tokens.clone(),
            rejected_tokens: tokens,
            consistency,
            weight,
        }
    }
}
