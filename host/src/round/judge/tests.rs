use std::path::Path;

use candle_core::Device;
use creamery_plugin::{Finish, Groups, JudgmentPair, Measure};

use super::super::groups::SampledResponse;
use super::super::models::{ModelRef, Models};
use super::*;
use crate::data::{ChatFormat, ChatOptions};
use crate::plugins::{LoadOptions, PluginInfo, inspect};
use crate::slots::Slots;

/// Asks for two judgments of each response of groups whose id starts with "ask", fails on groups "bad", and
/// reports on its calls.
struct Scripted {
    info: PluginInfo,
    pair: JudgmentPair,
}

impl Scripted {
    fn new(features: &[&str]) -> Self {
        let mut descriptor = inspect("builtin:rubric", Path::new(""), &LoadOptions::new("")).expect("a plugin of ours");
        descriptor.features = features.iter().map(|f| f.to_string()).collect();
        let info = PluginInfo { descriptor, path: None, digest: String::new(), sources: None, params: json!({}) };
        Scripted { info, pair: JudgmentPair { step: 0, query: 0, chosen: 1, rejected: 0, weight: 0.5 } }
    }
}

impl JudgePlugin for Scripted {
    fn info(&self) -> &PluginInfo {
        &self.info
    }

    fn step(&mut self, _: &JudgeContext, groups: &Groups, answers: &[Vec<Answer>]) -> Result<Step> {
        if groups.ids.iter().any(|id| id == "bad") {
            return Err(Error::plugin("this group is bad"));
        }
        let query = |text: &str| Query::Generate {
            slot: "judge".into(),
            messages: vec![Message::user(format!("How good is {text}?"))],
            count: 2,
            max_new_tokens: 6,
            temperature: 1.0,
            top_p: 1.0,
        };
        let asked = groups.ids.iter().enumerate().filter(|(_, id)| id.starts_with("ask"));
        let queries: Vec<Query> =
            asked.flat_map(|(g, _)| &groups.responses[groups.response_range(g)]).map(|r| query(&r.text)).collect();
        if answers.is_empty() && !queries.is_empty() {
            return Ok(Step::Ask(queries));
        }
        Ok(Step::Scores(vec![Score::Value(1.0); groups.responses.len()]))
    }

    fn report(&mut self, _: &JudgeContext, groups: &Groups, answers: &[Vec<Answer>]) -> Result<JudgeReport> {
        let measure = |name: &str, sum, count| Measure { name: name.into(), sum, count };
        let measures = vec![measure("groups", groups.len() as f64, 1), measure("empty", 0.0, 0)];
        let pairs = answers.first().map(|_| self.pair.clone()).into_iter().collect();
        Ok(JudgeReport { measures, pairs })
    }
}

fn groups(ids: &[&str]) -> Vec<SampledGroup> {
    let response = |text: &str| SampledResponse {
        text: text.into(),
        finish: Finish::Stop,
        ids: vec![5],
        logp: -1.0,
        source: None,
    };
    let group = |id: &&str| SampledGroup {
        id: id.to_string(),
        prompt: vec![Message::user("1+1")],
        prompt_ids: vec![4],
        responses: vec![response("2"), response("3")],
    };
    ids.iter().map(group).collect()
}

fn judge(judge: &mut Scripted, on_failure: OnFailure, sampled: &[SampledGroup]) -> Result<Judged> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart/model");
    let chat = ChatFormat::load_with(&folder, &ChatOptions::default())?;
    let eos = chat.tokenizer().stop_ids(&folder)?;
    let slots = [("judge", ModelRef::of_folder(&folder)?)];
    let models = &mut Models::new(Device::Cpu);
    let others = &mut Slots::default();
    let desk = &mut Desk { models, slots: &slots, others, chat: &chat, eos: &eos, sampled_by: None, seed: 1, round: 1 };
    let work = Judging { judge, viewpoint: "current", desk, on_failure, max_steps: 2 };
    let judged = work.scores(sampled, &mut |_, _| {})?;
    for row in &judged.judgments {
        assert_eq!(row.prompt_ids, chat.encode(&row.prompt, true)?);
        for (text, ids) in [(&row.chosen, &row.chosen_ids), (&row.rejected, &row.rejected_ids)] {
            assert_eq!(*text, chat.tokenizer().decode(super::super::sample::without_eos(ids, &eos))?);
        }
    }
    Ok(judged)
}

#[test]
fn measures_are_added_up_and_judgments_keep_their_tokens() {
    let judged = judge(&mut Scripted::new(&[]), OnFailure::Stop, &groups(&["a", "ask", "b"])).unwrap();
    assert_eq!(judged.rows.len(), 3);
    let measures = &judged.counts.measures;
    assert_eq!(measures["groups"], MeasureSum { sum: 3.0, count: 1 });
    assert_eq!((measures["groups"].mean(), measures["empty"].mean()), (Some(3.0), None));
    let [row] = judged.judgments.as_slice() else { panic!("{:?}", judged.judgments) };
    assert_eq!((row.weight, row.prompt[0].content.as_str()), (0.5, "How good is 2?"));
    assert_ne!(row.chosen_ids, row.rejected_ids, "two draws of a model that is not sure");
    assert!(row.group.starts_with("judgment-"), "{}", row.group);

    // Cut in half around the group at fault: calls of {a, ask}, {b} and {bad}, whose report is never asked for.
    let found = judge(&mut Scripted::new(&[]), OnFailure::Abstain, &groups(&["a", "ask", "b", "bad"])).unwrap();
    assert_eq!(found.counts.measures["groups"], MeasureSum { sum: 3.0, count: 2 });
    assert_eq!((found.counts.failed_groups, found.counts.abstentions), (1, 2));
    assert_eq!(found.judgments, judged.judgments, "whatever else is in the batch");
}

#[test]
fn a_judge_of_the_whole_set_gets_it_in_one_call() {
    let ids: Vec<String> = (0..BATCH + 5).map(|i| i.to_string()).collect();
    let sampled = groups(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    for (features, calls) in [(&[][..], 2), (&["whole-set"][..], 1)] {
        let judged = judge(&mut Scripted::new(features), OnFailure::Stop, &sampled).unwrap();
        let expected = MeasureSum { sum: sampled.len() as f64, count: calls };
        assert_eq!((judged.rows.len(), judged.counts.measures["groups"]), (sampled.len(), expected));
    }
    let nothing = judge(&mut Scripted::new(&["whole-set"]), OnFailure::Stop, &[]).unwrap();
    assert!(nothing.rows.is_empty());
    // Whose fault a failure is cannot be found out: all groups have failed.
    let sampled = groups(&["a", "bad", "b"]);
    for (policy, skipped) in [(OnFailure::Abstain, 0), (OnFailure::Skip, 3)] {
        let judged = judge(&mut Scripted::new(&["whole-set"]), policy, &sampled).unwrap();
        assert_eq!((judged.counts.failed_groups, judged.counts.abstentions), (3, 6));
        assert_eq!(judged.rows.iter().filter(|row| row.skipped.is_some()).count(), skipped);
    }
    assert!(judge(&mut Scripted::new(&["whole-set"]), OnFailure::Stop, &sampled).is_err());
}

#[test]
fn pairs_of_texts_that_are_not_there_are_named() {
    let pair = |step, query, chosen, rejected| JudgmentPair { step, query, chosen, rejected, weight: 1.0 };
    for (pair, part) in [
        (pair(1, 0, 1, 0), "is of step 1, query 0, which was not answered with texts"),
        (pair(0, 2, 1, 0), "is of step 0, query 2"),
        (pair(0, 1, 2, 0), "is of the texts 2 and 0 of 2"),
        (pair(0, 1, 1, 1), "is of the texts 1 and 1 of 2"),
    ] {
        let mut scripted = Scripted { pair, ..Scripted::new(&[]) };
        let error = judge(&mut scripted, OnFailure::Stop, &groups(&["ask"])).err().expect(part);
        let shown = error.to_string();
        assert!(shown.contains(part) && shown.contains("report: pair 0"), "no '{part}' in {shown}");
    }
}
