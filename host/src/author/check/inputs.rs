//! The inputs that every kind of plugin is tried on.

use creamery_plugin::{Finish, Score};

use super::case::Case;

/// Bytes of a long response.
const LONG: usize = 1 << 20;

/// Six groups of four different responses. Scores in [0, 1), no two in a group alike; the viewpoints differ.
pub(super) fn ordinary() -> Case {
    Case::new(6, 4, |g, r| format!("The answer is {}.{}", g + r, " Quite surely.".repeat((g + 2 * r) % 3)), distinct)
}

/// In a group no two scores are alike, and the order is another one in each group and viewpoint.
fn distinct(g: usize, r: usize, v: usize) -> Score {
    // 7 is prime to every number of responses used here, so that this permutes them.
    let place = (r * 7 + g + v * (g % 3)) % 8;
    Score::Value(place as f64 / 8.0 + (g % 64) as f64 / 1024.0)
}

/// No two responses of a group alike in score or length, so that nothing is left for their order to decide.
pub(super) fn without_ties() -> Case {
    ordinary().with_texts(|g, r| format!("The answer is {}.{}", 10 + g + r, " Surely.".repeat((g + 5 * r) % 8)))
}

/// The same scores from every viewpoint.
pub(super) fn unanimous() -> Case {
    ordinary().with_scores(|g, r, _| distinct(g, r, 0))
}

pub(super) fn many(groups: usize) -> Case {
    Case::new(groups, 2, |g, r| format!("{g} or {r}"), distinct)
}

pub(super) fn empty() -> Case {
    ordinary().select([])
}

pub(super) fn single_group() -> Case {
    ordinary().select([1])
}

pub(super) fn single_response() -> Case {
    let mut case = ordinary().select([0, 1, 2]);
    case.groups.iter_mut().for_each(|g| g.responses.truncate(1));
    case
}

/// Texts, prompts and ids in many scripts, with what breaks careless code: combining marks, characters of four bytes,
/// of zero width, from right to left, control characters, markup.
pub(super) fn unicode() -> Case {
    const TEXTS: [&str; 12] = [
        "Grüße aus Köln",
        "二加二等于四。",
        "الجواب أربعة",
        "e\u{301} = é",
        "👩‍👩‍👧‍👦 🍦",
        "\u{200b}\u{feff}zero width",
        "\u{202e}from right to left",
        "line\nbreak\r\n\ttab",
        "\"quotes\" \\ back\\slash",
        "{{ template }} {% raw %} </response>",
        "𝔸𝔹ℂ ﬁ ½",
        "ends in a null \u{0}",
    ];
    let mut case = ordinary().with_texts(|g, r| format!("{}{}", TEXTS[(4 * g + r) % TEXTS.len()], r));
    for (g, group) in case.groups.iter_mut().enumerate() {
        group.id = format!("№ {g} — 问题");
        group.prompt.iter_mut().for_each(|m| m.content = TEXTS[(g + 5) % TEXTS.len()].to_owned());
    }
    case
}

/// Empty responses and an empty prompt.
pub(super) fn empty_texts() -> Case {
    let mut case =
        ordinary().select([0, 1, 2]).with_texts(|g, r| if (g + r) % 2 == 0 { String::new() } else { "x".into() });
    case.groups[0].prompt.iter_mut().for_each(|m| m.content.clear());
    case
}

/// Two responses of a megabyte.
pub(super) fn long_texts() -> Case {
    let mut case = ordinary().select([0]).with_texts(|_, r| format!("{r}{}", " word".repeat(LONG / 5)));
    case.groups[0].responses.truncate(2);
    case
}

/// All responses of a group alike, and all their scores.
pub(super) fn ties() -> Case {
    ordinary().with_texts(|g, _| format!("the same {g}")).with_scores(|_, _, _| Score::Value(0.5))
}

/// Different texts with equal scores, in part of the groups.
pub(super) fn tied_scores() -> Case {
    ordinary().with_scores(|g, r, v| if g % 2 == 0 { Score::Value(0.25) } else { distinct(g, r / 2, v) })
}

/// Responses that the token limit cut off: all of one group, some of the others.
pub(super) fn cut_off() -> Case {
    let mut case = ordinary();
    for (g, group) in case.groups.iter_mut().enumerate() {
        for (r, response) in group.responses.iter_mut().enumerate() {
            if g == 0 || (g + r) % 3 == 0 {
                response.response.finish = Finish::Length;
            }
        }
    }
    case
}

/// Responses without a score: in each group one more, from one viewpoint or from all.
pub(super) fn abstentions() -> Case {
    ordinary().with_scores(|g, r, v| match r < g && (v == 0 || g % 2 == 0) {
        true => Score::Abstain("no opinion — 無".to_owned()),
        false => distinct(g, r, v),
    })
}

pub(super) fn no_scores() -> Case {
    ordinary().with_scores(|_, _, _| Score::Abstain("no opinion".to_owned()))
}

/// Finite numbers at the ends of what there is.
pub(super) fn extreme_scores() -> Case {
    const SCORES: [f64; 8] = [1e300, -1e300, f64::MAX, f64::MIN, 5e-324, -0.0, 0.0, 1.0];
    ordinary().with_scores(|g, r, v| Score::Value(SCORES[(3 * g + r + v) % SCORES.len()]))
}

/// Scores that the host never gives.
pub(super) fn nan_scores() -> Case {
    const SCORES: [f64; 4] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.5];
    ordinary().with_scores(|g, r, v| Score::Value(SCORES[(g + r + v) % SCORES.len()]))
}
