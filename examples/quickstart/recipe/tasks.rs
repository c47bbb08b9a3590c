//! Five verifiable tasks over short strings, and rows of them in the formats that Creamery reads.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A question with its one right answer.
#[derive(Clone, Debug)]
pub struct Problem {
    pub task: &'static str,
    pub question: String,
    pub answer: String,
}

/// A stream of problems that never repeats a question.
pub struct Problems {
    random: Random,
    seen: BTreeSet<String>,
}

impl Problems {
    pub fn new(seed: u64) -> Self {
        Problems { random: Random::new(seed), seen: BTreeSet::new() }
    }

    /// `count` new problems, the tasks in equal shares and mixed.
    pub fn take(&mut self, count: usize) -> Vec<Problem> {
        (0..count)
            .map(|i| {
                loop {
                    let problem = problem(i % 5, &mut self.random);
                    if self.seen.insert(problem.question.clone()) {
                        break problem;
                    }
                }
            })
            .collect()
    }

    /// Whether `question` has been taken from this stream.
    pub fn contains(&self, question: &str) -> bool {
        self.seen.contains(question)
    }
}

/// One problem of task number `task` (0 to 4).
pub fn problem(task: usize, random: &mut Random) -> Problem {
    match task {
        0 => {
            let (a, b) = (random.between(10, 99), random.between(1, 19));
            Problem { task: "add", question: format!("add {a} {b}"), answer: (a + b).to_string() }
        }
        1 => {
            let word = random.letters(3, 6);
            let answer = word.chars().rev().collect();
            Problem { task: "reverse", question: format!("reverse {word}"), answer }
        }
        2 => {
            let mut digits = random.digits(4, 6);
            let question = format!("sort {digits}");
            let mut sorted: Vec<char> = digits.drain(..).collect();
            sorted.sort_unstable();
            Problem { task: "sort", question, answer: sorted.into_iter().collect() }
        }
        3 => {
            // A letter that occurs is asked for most of the time, and few distinct letters make repeats.
            let length = random.between(4, 6) as usize;
            let pool = random.letters(3, 3);
            let word: String = (0..length).map(|_| random.choose(&pool)).collect();
            let letter = random.choose(&pool);
            let answer = word.chars().filter(|&c| c == letter).count().to_string();
            Problem { task: "count", question: format!("count {letter} in {word}"), answer }
        }
        _ => {
            let count = random.between(3, 5);
            let numbers: Vec<u64> = (0..count).map(|_| random.between(10, 99)).collect();
            let list: Vec<String> = numbers.iter().map(u64::to_string).collect();
            let largest = numbers.iter().max().expect("three numbers or more");
            Problem { task: "largest", question: format!("largest {}", list.join(" ")), answer: largest.to_string() }
        }
    }
}

/// `answer` with one or two characters replaced by others of the same kind (digit or letter).
pub fn corrupt(answer: &str, random: &mut Random) -> String {
    let mut characters: Vec<char> = answer.chars().collect();
    for _ in 0..random.between(1, 2) {
        let at = random.below(characters.len() as u64) as usize;
        let old = characters[at];
        let base = if old.is_ascii_digit() { ('0', 10) } else { ('a', 26) };
        // A shift between 1 and size − 1 never gives the same character again.
        let shift = random.between(1, base.1 - 1);
        let index = (old as u64 - base.0 as u64 + shift) % base.1;
        characters[at] = char::from(base.0 as u8 + index as u8);
    }
    characters.into_iter().collect()
}

/// `{"prompt": [...]}`: what self-rewarding reads. It holds no answer.
pub fn prompt_row(id: &str, problem: &Problem) -> Value {
    json!({"id": id, "prompt": [{"role": "user", "content": problem.question}]})
}

/// `{"prompt": [...], "completion": "..."}`
pub fn sft_row(id: &str, problem: &Problem) -> Value {
    json!({"id": id, "prompt": [{"role": "user", "content": problem.question}], "completion": problem.answer})
}

/// `{"prompt": [...], "answer": "...", "task": "..."}`
pub fn eval_row(id: &str, problem: &Problem) -> Value {
    let prompt = json!([{"role": "user", "content": problem.question}]);
    json!({"id": id, "task": problem.task, "prompt": prompt, "answer": problem.answer})
}

/// A seeded ChaCha stream with the few draws that the tasks need.
pub struct Random(ChaCha8Rng);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Uniform in `0..n`; the bias of the modulus is below 2⁻⁵⁰ for the sizes used here.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0.next_u64() % n
    }

    /// Uniform in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    fn choose(&mut self, letters: &str) -> char {
        letters.chars().nth(self.below(letters.len() as u64) as usize).expect("an ASCII string, index below its length")
    }

    fn letters(&mut self, low: u64, high: u64) -> String {
        let length = self.between(low, high);
        (0..length).map(|_| char::from(b'a' + self.below(26) as u8)).collect()
    }

    fn digits(&mut self, low: u64, high: u64) -> String {
        let length = self.between(low, high);
        (0..length).map(|_| char::from(b'0' + self.below(10) as u8)).collect()
    }
}
