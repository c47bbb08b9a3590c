//! Examples of judging, as the evaluation fine-tuning data of Self-Rewarding Language Models (arXiv 2401.10020,
//! section 2.1): a model that has never judged cannot be its own judge.
//!
//! M0 has seen such rows in training; the file brings its judging to the same point as fine-tuning brings its answers. A
//! quarter of the file's rows rate one answer, the others compare two. Prompts are those of `examples/methods/prompts`,
//! kept short.

use serde_json::{Value, json};

use crate::files::reserved;
use crate::tasks::{Problem, Random, corrupt};

const SEED: u64 = 2_401;
/// Each has a question of its own, which stands in no other file.
const ROWS: usize = 4000;

pub fn rows() -> Vec<Value> {
    let (mut problems, mut random) = (reserved(), Random::new(SEED));
    // Tasks come in turn, five of them.
    let row = |(i, problem): (usize, Problem)| {
        let kind = if (i / 5) % 4 == 0 { Kind::Rate } else { Kind::Compare };
        example(kind, &problem, &mut random)
    };
    let rows = problems.take(ROWS).into_iter().enumerate().map(row);
    let json = |(i, (prompt, verdict)): (usize, (String, String))| {
        let prompt = json!([{"role": "user", "content": prompt}]);
        json!({"id": format!("j-{i:04}"), "prompt": prompt, "completion": verdict})
    };
    rows.enumerate().map(json).collect()
}

#[derive(Clone, Copy)]
pub enum Kind {
    /// One answer, right or wrong.
    Rate,
    /// A right and a wrong one, in either order.
    Compare,
}

/// A prompt and the right verdict.
pub fn example(kind: Kind, problem: &Problem, random: &mut Random) -> (String, String) {
    let (wrong, right_first) = (wrong(problem, random), random.below(2) == 0);
    let (question, right) = (&problem.question, &problem.answer);
    let (prompt, verdict) = match (kind, right_first) {
        (Kind::Rate, true) => (rate(question, right), "Score: 5"),
        (Kind::Rate, false) => (rate(question, &wrong), "Score: 0"),
        (Kind::Compare, true) => (compare(question, right, &wrong), "A"),
        (Kind::Compare, false) => (compare(question, &wrong, right), "B"),
    };
    (prompt, verdict.to_owned())
}

/// As `rate.jinja`.
fn rate(question: &str, answer: &str) -> String {
    format!("{question} ~ {answer}")
}

/// As `compare.jinja`.
fn compare(question: &str, a: &str, b: &str) -> String {
    format!("{question} a {a} b {b}")
}

/// A wrong answer: changed at random, as the answers that M0 has learnt from, or by a likely mistake.
fn wrong(problem: &Problem, random: &mut Random) -> String {
    loop {
        let answer = match random.below(2) {
            0 => corrupt(&problem.answer, random),
            _ => mistake(problem, random),
        };
        // A mistake may be none, as when two equal digits are swapped.
        if answer != problem.answer {
            return answer;
        }
    }
}

/// The result one off or ten off, two neighbours swapped, one letter too many or too few, another of the numbers.
fn mistake(Problem { task, question, answer }: &Problem, random: &mut Random) -> String {
    let number = || answer.parse::<u64>().expect("a task of numbers");
    match *task {
        "add" => {
            let step = if random.below(2) == 0 { 1 } else { 10 };
            if random.below(2) == 0 { number() + step } else { number() - step }.to_string()
        }
        "count" => if number() == 0 || random.below(2) == 0 { number() + 1 } else { number() - 1 }.to_string(),
        "largest" => {
            let numbers: Vec<&str> = question.split(' ').skip(1).collect();
            numbers[random.below(numbers.len() as u64) as usize].to_owned()
        }
        _ => {
            let mut characters: Vec<char> = answer.chars().collect();
            let at = random.below(characters.len() as u64 - 1) as usize;
            characters.swap(at, at + 1);
            characters.into_iter().collect()
        }
    }
}
