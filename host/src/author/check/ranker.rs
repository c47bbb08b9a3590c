//! The checks of rankers.

use creamery_plugin::{RankContext, Ranking};

use super::case::{Case, Smaller, count};
use super::metered::Metered;
use super::suite::{BY_POSITION, FIRST, Suite, TIES, survives_nonsense, told};
use super::{Options, Reload, inputs};
use crate::error::Error;
use crate::plugins::RankerPlugin;

const CONTEXT: RankContext = RankContext { round: 1, seed: 7 };
const NUMBERS: &str = "from `rank_numbers` than from `rank`";

/// What a ranker says of a group, with numbers that do not depend on where the group stands.
#[derive(Debug, PartialEq)]
struct Local {
    /// By viewpoint.
    ranks: Vec<Vec<u32>>,
    /// Chosen, rejected, weight.
    pairs: Vec<(usize, usize, u64)>,
}

impl Local {
    /// Of the responses in reverse order.
    fn turned(mut self) -> Self {
        let last = self.ranks.first().map_or(0, Vec::len).saturating_sub(1);
        self.ranks.iter_mut().for_each(|ranks| ranks.reverse());
        self.pairs
            .iter_mut()
            .for_each(|(chosen, rejected, _)| (*chosen, *rejected) = (last - *chosen, last - *rejected));
        self
    }

    /// The order of a group's pairs says nothing.
    fn sorted(mut self) -> Self {
        self.pairs.sort_unstable();
        self
    }
}

pub(super) fn run(
    mut ranker: Metered<dyn RankerPlugin>,
    reload: &mut Reload<'_, dyn RankerPlugin>,
    options: &Options,
) -> Suite {
    // Such a ranker cannot work on the current model's responses alone.
    let always = ranker.info().descriptor.has_feature("needs-sources");
    let named = |mut case: Case| {
        for source in &options.sources {
            if !case.sources.contains(source) {
                case.sources.push(source.clone());
            }
        }
        case
    };
    let rank = |ranker: &mut Metered<dyn RankerPlugin>, case: &Case| -> Result<Ranking, Error> {
        let (groups, scores) = (case.groups(), case.scores());
        match always {
            true => ranker.rank_sources(&CONTEXT, &groups, &scores, &case.sources()),
            false => ranker.rank(&CONTEXT, &groups, &scores),
        }
    };
    let mut suite = Suite::default();

    suite.check(FIRST, named(inputs::ordinary()), |case| {
        let ranking = rank(&mut ranker, case).map_err(|e| told(&e))?;
        Ok(summary(case, &ranking))
    });
    suite.check("repeat", named(inputs::ordinary()), |case| {
        let first = rank(&mut ranker, case).map_err(|e| told(&e))?;
        let again = rank(&mut ranker, case).map_err(|e| told(&e))?;
        same(case, &local(case, &first), &local(case, &again), "the second time")?;
        let mut other = reload().map_err(|e| told(&e))?;
        let reloaded = rank(&mut other, case).map_err(|e| told(&e))?;
        same(case, &local(case, &first), &local(case, &reloaded), "from a plugin loaded again")?;
        Ok("twice, and from a plugin loaded again: the same bits".to_owned())
    });
    suite.check("batches", named(inputs::ordinary()), |case| {
        let whole = local(case, &rank(&mut ranker, case).map_err(|e| told(&e))?);
        for of in [1, 2, 5] {
            let mut parts = Vec::new();
            for start in (0..case.groups.len()).step_by(of) {
                let part = case.select(start..(start + of).min(case.groups.len()));
                parts.extend(local(&part, &rank(&mut ranker, &part).map_err(|e| told(&e))?));
            }
            same(case, &whole, &parts, &format!("in calls of {}", count(of, "group")))?;
        }
        Ok("in calls of 1, 2, 5 and all groups: the same bits".to_owned())
    });
    suite.check("order", named(inputs::ordinary()), |case| {
        let forwards = local(case, &rank(&mut ranker, case).map_err(|e| told(&e))?);
        let turned = case.select((0..case.groups.len()).rev());
        let mut backwards = local(&turned, &rank(&mut ranker, &turned).map_err(|e| told(&e))?);
        backwards.reverse();
        same(case, &forwards, &backwards, "with the groups in reverse order")?;
        Ok("groups in reverse order: the same bits".to_owned())
    });
    if ranker.info().descriptor.has_feature("by-position") {
        suite.skip("responses-order", BY_POSITION);
    } else {
        suite.check("responses-order", named(inputs::without_ties()), |case| {
            if case.has_ties() {
                // Of the inputs that are made smaller.
                return Ok(TIES.to_owned());
            }
            let forwards = local(case, &rank(&mut ranker, case).map_err(|e| told(&e))?);
            let turned = case.turned_within();
            let backwards = local(&turned, &rank(&mut ranker, &turned).map_err(|e| told(&e))?);
            let forwards: Vec<Local> = forwards.into_iter().map(Local::sorted).collect();
            let backwards: Vec<Local> = backwards.into_iter().map(|local| local.turned().sorted()).collect();
            same(case, &forwards, &backwards, "with the responses of each group in reverse order").map_err(|why| {
                format!("{why}, although none tie; if that is meant, say so with the feature \"by-position\"")
            })?;
            Ok("responses of each group in reverse order: the same ranks and pairs".to_owned())
        });
    }
    suite.check("ranks", named(inputs::ordinary()), |case| {
        let ranking = rank(&mut ranker, case).map_err(|e| told(&e))?;
        ranks_follow_scores(case, &ranking)?;
        Ok("1 for the best score of each viewpoint and group".to_owned())
    });
    suite.check("pairs", named(inputs::unanimous()), |case| {
        let ranking = rank(&mut ranker, case).map_err(|e| told(&e))?;
        let scores = case.scores();
        let value = |r: u32| scores.scores[r as usize].value().unwrap_or(f64::NEG_INFINITY);
        match ranking.pairs.iter().find(|p| value(p.chosen) < value(p.rejected)) {
            Some(p) => Err(format!(
                "all viewpoints score response {} with {} and response {} with {}, but the first is chosen over the second",
                p.chosen,
                value(p.chosen),
                p.rejected,
                value(p.rejected)
            )),
            None => Ok(format!("{} in the order that all viewpoints agree on", count(ranking.pairs.len(), "pair"))),
        }
    });
    suite.check("abstentions", named(inputs::abstentions()), |case| {
        let ranking = rank(&mut ranker, case).map_err(|e| told(&e))?;
        let scores = case.scores();
        if let Some(i) =
            (0..scores.scores.len()).find(|i| scores.scores[*i].value().is_none() && ranking.ranks[*i] != 0)
        {
            let (v, r) = (i / case.responses(), i % case.responses());
            let rank = ranking.ranks[i];
            let viewpoint = &case.viewpoints[v];
            return Err(format!(
                "response {r} has no score of viewpoint {viewpoint:?}, but the rank {rank}; expected 0"
            ));
        }
        let unscored = |r: u32| {
            (0..case.viewpoints.len()).all(|v| scores.scores[v * case.responses() + r as usize].value().is_none())
        };
        match ranking.pairs.iter().flat_map(|p| [p.chosen, p.rejected]).find(|r| unscored(*r)) {
            Some(r) => Err(format!("response {r} has no score of any viewpoint, but is in a pair")),
            None => Ok("no rank and no pair without a score".to_owned()),
        }
    });
    let cases = [
        ("no-groups", inputs::empty()),
        ("one-group", inputs::single_group()),
        ("one-response", inputs::single_response()),
        ("many-groups", inputs::many(options.many)),
        ("unicode", inputs::unicode()),
        ("empty-texts", inputs::empty_texts()),
        ("long-texts", inputs::long_texts()),
        ("ties", inputs::tied_scores()),
        ("identical", inputs::ties()),
        ("cut-off", inputs::cut_off()),
        ("no-scores", inputs::no_scores()),
        ("extreme-scores", inputs::extreme_scores()),
    ];
    for (name, input) in cases {
        suite.check(name, named(input), |case| {
            let ranking = rank(&mut ranker, case).map_err(|e| told(&e))?;
            if !always && ranker.by_numbers() {
                // So far it has seen no texts.
                let texts = ranker.rank_texts(&CONTEXT, &case.groups(), &case.scores()).map_err(|e| told(&e))?;
                same(case, &local(case, &texts), &local(case, &ranking), NUMBERS)?;
            }
            Ok(summary(case, &ranking))
        });
    }
    suite.check("nan-scores", named(inputs::nan_scores()), |case| survives_nonsense(rank(&mut ranker, case)));
    if !always {
        let numbers = [
            ("numbers", inputs::ordinary()),
            ("numbers-ties", inputs::tied_scores()),
            ("numbers-identical", inputs::ties()),
            ("numbers-cut-off", inputs::cut_off()),
            ("numbers-abstentions", inputs::abstentions()),
        ];
        for (name, input) in numbers {
            if !ranker.by_numbers() {
                suite.skip(name, "the host calls it with texts");
                continue;
            }
            suite.check(name, named(input), |case| {
                let (groups, scores) = (case.groups(), case.scores());
                let plain = ranker.rank(&CONTEXT, &groups, &scores).map_err(|e| told(&e))?;
                let texts = ranker.rank_texts(&CONTEXT, &groups, &scores).map_err(|e| told(&e))?;
                same(case, &local(case, &texts), &local(case, &plain), NUMBERS)?;
                match texts.dropped == plain.dropped {
                    true => Ok("as the host calls it, and with texts: the same bits".to_owned()),
                    false => Err("`rank_numbers` drops groups for other reasons than `rank`".to_owned()),
                }
            });
        }
    }
    suite.check("sources", named(inputs::ordinary()), |case| {
        let (groups, scores) = (case.groups(), case.scores());
        let mixed = ranker.rank_sources(&CONTEXT, &groups, &scores, &case.sources()).map_err(|e| told(&e))?;
        if always {
            return Ok(summary(case, &mixed));
        }
        let mut own = case.sources();
        own.responses.iter_mut().for_each(|s| *s = 0);
        let alone = ranker.rank_sources(&CONTEXT, &groups, &scores, &own).map_err(|e| told(&e))?;
        let plain = rank(&mut ranker, case).map_err(|e| told(&e))?;
        same(case, &local(case, &plain), &local(case, &alone), "where it is told that all are the current model's")?;
        Ok("responses of other models; all of the current one: as without sources".to_owned())
    });
    suite
}

fn local(case: &Case, ranking: &Ranking) -> Vec<Local> {
    let (groups, total) = (case.groups(), case.responses());
    (0..groups.len())
        .map(|g| {
            let range = groups.response_range(g);
            let start = range.start;
            Local {
                ranks: (0..case.viewpoints.len())
                    .map(|v| ranking.ranks[v * total + start..v * total + range.end].to_vec())
                    .collect(),
                pairs: (ranking.pairs.iter())
                    .filter(|p| p.group as usize == g)
                    .map(|p| (p.chosen as usize - start, p.rejected as usize - start, p.weight.to_bits()))
                    .collect(),
            }
        })
        .collect()
}

fn same(case: &Case, expected: &[Local], found: &[Local], when: &str) -> Result<(), String> {
    match expected.iter().zip(found).position(|(a, b)| a != b) {
        Some(g) => {
            let what = if expected[g].ranks == found[g].ranks { "pairs" } else { "ranks" };
            Err(format!("group {:?} has other {what} {when}", case.groups[g].id))
        }
        None => Ok(()),
    }
}

/// Scores are distinct, so each rank is one more than the number of better responses.
fn ranks_follow_scores(case: &Case, ranking: &Ranking) -> Result<(), String> {
    let (groups, scores, total) = (case.groups(), case.scores(), case.responses());
    for (v, viewpoint) in case.viewpoints.iter().enumerate() {
        for g in 0..groups.len() {
            let value = |r: usize| scores.scores[v * total + r].value();
            for r in groups.response_range(g) {
                let better = groups.response_range(g).filter(|other| value(*other) > value(r)).count() as u32;
                let rank = ranking.ranks[v * total + r];
                if rank != better + 1 {
                    return Err(format!(
                        "response {r} has the rank {rank} for viewpoint {viewpoint:?}, but {better} of its group score \
                         better; expected {}",
                        better + 1
                    ));
                }
            }
        }
    }
    Ok(())
}

fn summary(case: &Case, ranking: &Ranking) -> String {
    let dropped = ranking.dropped.len();
    format!("{}: {}, {dropped} dropped", case.size(), count(ranking.pairs.len(), "pair"))
}
