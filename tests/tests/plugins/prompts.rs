//! Judges that ask in words, in the sandbox: what the prompts of a whole batch cost.

use creamery::plugins::LoadOptions;
use creamery_plugin::{Answer, Finish, Generated, Query, Step};

use super::*;

/// 512 groups of 5 different responses of some 600 characters, as the host gives them in one call, are far from the
/// limits of a component: each call of these judges takes less than a fifth of the fuel that it may.
#[test]
fn a_full_batch_of_prompts_fits_the_limits() {
    let text = |g: usize, r: usize| format!("{g} {r} {}", "a response of some length. ".repeat(22));
    let mut batch = Groups::default();
    for g in 0..512 {
        let responses = (0..5).map(|r| creamery_plugin::testkit::complete(&text(g, r))).collect();
        batch.push(format!("p{g}"), vec![creamery_plugin::Message::user(text(g, 9))], responses);
    }
    let cases = [
        ("rubric", json!({})),
        ("expected-score", json!({})),
        ("pairwise", json!({"aggregate": "bradley-terry"})),
        ("meta-judge", json!({"k": 4})),
    ];
    for (name, params) in cases {
        let mut options: LoadOptions = in_form(Artifact::Component);
        options.limits.fuel /= 5;
        let source = source(name, Artifact::Component);
        let mut judge = load_judge(&source, &root(), &Params::of(&params), &options).unwrap();
        let mut answers = Vec::new();
        loop {
            match judge.step(&context(), &batch, &answers).unwrap_or_else(|e| panic!("{name}: {e}")) {
                Step::Ask(queries) => answers.push(queries.iter().enumerate().map(|(i, q)| answer(i, q)).collect()),
                Step::Scores(scores) => {
                    assert!(scores.iter().all(|s| s.value().is_some()), "{name}");
                    break;
                }
            }
        }
        judge.report(&context(), &batch, &answers).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

fn answer(i: usize, query: &Query) -> Answer {
    match query {
        Query::Generate { count, .. } => {
            let text = |k: u32| format!("{k}, since {} Score: {}", "it is so. ".repeat(30), k % 6);
            let texts = (0..*count).map(|k| Generated { text: text(k), finish: Finish::Stop });
            Answer::Texts(texts.collect())
        }
        Query::Choose { labels, .. } => {
            let p = |l: usize| 1.0 + ((i * 7 + l * 3) % 5) as f64;
            Answer::Distribution((0..labels.len()).map(p).collect())
        }
        other => panic!("{other:?}"),
    }
}
