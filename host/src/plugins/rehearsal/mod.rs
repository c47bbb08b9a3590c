//! A rehearsal at load: judge, ranker and regularizer work once on a few made-up responses, against a scripted model,
//! so that parts that do not go together are an error before any work. Nothing of it is kept.
//!
//! A judge may well fail on made-up answers, so only what it asks counts: a slot that is not there, a query that the
//! slot's model cannot answer. The scores that it gives show its scale: where ranker or regularizer fail on them, and
//! not on the same order in another scale, the parts do not fit. Else they get made-up scores of the usual forms, and
//! their errors count.

mod judging;
mod labelling;
mod objective;

use creamery_plugin::{Finish, Groups, Message, Response};

use crate::slots::{Capabilities, OWN_NAMES};

pub use judging::{Performance, judge, unasked};
pub use labelling::{Rest, rest};
pub use objective::{PAIRS, depends_on_reference};

/// Groups of a rehearsal.
pub const GROUPS: usize = 8;

/// A model slot of a judge and what its model can do.
#[derive(Clone, Debug)]
pub struct SlotAbilities {
    pub name: String,
    pub can: Capabilities,
}

impl SlotAbilities {
    pub fn new(name: &str, can: Capabilities) -> Self {
        SlotAbilities { name: name.to_owned(), can }
    }

    /// The slots that every judge of a run has.
    pub fn own() -> Vec<Self> {
        OWN_NAMES.map(|name| SlotAbilities::new(name, Capabilities::ALL)).into()
    }
}

/// Up to [`GROUPS`] groups of `n` made-up responses to these prompts, or to made-up ones.
pub fn groups<'a>(prompts: impl Iterator<Item = &'a [Message]>, n: usize) -> Groups {
    let mut prompts: Vec<Vec<Message>> = prompts.take(GROUPS).map(<[Message]>::to_vec).collect();
    if prompts.is_empty() {
        prompts = (0..GROUPS).map(|g| vec![Message::user(format!("What is {g} + {g}?"))]).collect();
    }
    let mut groups = Groups::default();
    for (g, prompt) in prompts.into_iter().enumerate() {
        let response = |r: usize| {
            let text = format!("The answer is {}.{}", g + r, " Indeed.".repeat((g + 2 * r) % 3));
            Response { tokens: text.len() as u32, text, finish: Finish::Stop }
        };
        groups.push(format!("rehearsal-{g}"), prompt, (0..n).map(response).collect());
    }
    groups
}
