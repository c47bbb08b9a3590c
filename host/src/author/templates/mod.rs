//! Folders to start a plugin from in C, Python and JavaScript. The three languages have the same three plugins, which give
//! the bits of a builtin: best–worst without merging (ranker), mean log-likelihood with a length penalty (judge), CREAM's
//! consistency of each prompt (regularizer).

use crate::plugins::Kind;

/// A language that is not Rust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guest {
    C,
    Python,
    JavaScript,
}

/// A file of a new folder: its path there, with '/', and its text.
pub type File = (&'static str, String);

macro_rules! files {
    ($($place:literal from $path:literal),* $(,)?) => {
        &[$(($place, include_str!($path))),*]
    };
}

type Files = &'static [(&'static str, &'static str)];

/// All files of a new plugin.
pub fn files(language: Guest, kind: Kind, name: &str) -> Vec<File> {
    let about = about(kind);
    let id = match language {
        Guest::C => "c",
        Guest::Python => "python",
        Guest::JavaScript => "javascript",
    };
    let lists = [common(language), of_kind(language, kind), contract(kind)];
    let filled = |text: &str| {
        text.replace("@RULE@", about.rule)
            .replace("@PARAMETER@", about.parameter)
            .replace("@SUMMARY@", about.summary)
            .replace("@FEATURES@", about.features)
            .replace("@LANGUAGE@", id)
            .replace("@KIND@", kind.name())
            .replace("@NAME@", name)
    };
    lists.into_iter().flatten().map(|(path, text)| (*path, filled(text))).collect()
}

struct About {
    rule: &'static str,
    summary: &'static str,
    parameter: &'static str,
    features: &'static str,
}

fn about(kind: Kind) -> About {
    match kind {
        Kind::Judge => About {
            rule: "A response's score is the mean log-probability of its tokens, less a penalty for its length.",
            summary: "Mean log-probability of the tokens, less a length penalty.",
            parameter: "| `length-penalty` | 0 | subtracted from the score for each token of the response |",
            features: "",
        },
        Kind::Ranker => About {
            rule: "The chosen response is the best one by the current model, the rejected one the worst.",
            summary: "The best response against the worst.",
            parameter: "| `min-margin` | 0 | drop a group whose best and worst scores differ by less |",
            features: "",
        },
        Kind::Regularizer => About {
            rule: "C is how far the current and the previous model agree on the ranking: (Kendall's tau + 1) / 2.",
            summary: "C from the agreement of two rankings; the loss is the C-mix.",
            parameter: "| `lowest` | 0 | C is never below this |",
            features: "\"c-mix\"",
        },
    }
}

fn common(language: Guest) -> Files {
    match language {
        Guest::C => files! {
            "README.md" from "c/README.md",
            "plugin.toml" from "plugin.toml",
            "creamery/support.c" from "c/support.c",
            "creamery/support.h" from "c/support.h",
            "creamery/libc/stdlib.h" from "c/libc/stdlib.h",
            "creamery/libc/string.h" from "c/libc/string.h",
        },
        Guest::Python => files! {
            "README.md" from "python/README.md",
            "plugin.toml" from "plugin.toml",
        },
        Guest::JavaScript => files! {
            "README.md" from "javascript/README.md",
            "plugin.toml" from "plugin.toml",
            "package.json" from "javascript/package.json",
        },
    }
}

fn of_kind(language: Guest, kind: Kind) -> Files {
    match (language, kind) {
        (Guest::C, Kind::Judge) => files! {
            "plugin.c" from "c/judge/plugin.c",
            "rule.c" from "c/judge/rule.c",
            "rule.h" from "c/judge/rule.h",
            "test_rule.c" from "c/judge/test_rule.c",
            "creamery/creamery.c" from "c/judge/creamery/creamery.c",
            "creamery/creamery.h" from "c/judge/creamery/creamery.h",
        },
        (Guest::C, Kind::Ranker) => files! {
            "plugin.c" from "c/ranker/plugin.c",
            "rule.c" from "c/ranker/rule.c",
            "rule.h" from "c/ranker/rule.h",
            "test_rule.c" from "c/ranker/test_rule.c",
            "creamery/creamery.c" from "c/ranker/creamery/creamery.c",
            "creamery/creamery.h" from "c/ranker/creamery/creamery.h",
        },
        (Guest::C, Kind::Regularizer) => files! {
            "plugin.c" from "c/regularizer/plugin.c",
            "rule.c" from "c/regularizer/rule.c",
            "rule.h" from "c/regularizer/rule.h",
            "test_rule.c" from "c/regularizer/test_rule.c",
            "creamery/creamery.c" from "c/regularizer/creamery/creamery.c",
            "creamery/creamery.h" from "c/regularizer/creamery/creamery.h",
        },
        (Guest::Python, Kind::Judge) => files! {
            "plugin.py" from "python/judge/plugin.py",
            "rule.py" from "python/judge/rule.py",
            "test_rule.py" from "python/judge/test_rule.py",
        },
        (Guest::Python, Kind::Ranker) => files! {
            "plugin.py" from "python/ranker/plugin.py",
            "rule.py" from "python/ranker/rule.py",
            "test_rule.py" from "python/ranker/test_rule.py",
        },
        (Guest::Python, Kind::Regularizer) => files! {
            "plugin.py" from "python/regularizer/plugin.py",
            "rule.py" from "python/regularizer/rule.py",
            "test_rule.py" from "python/regularizer/test_rule.py",
        },
        (Guest::JavaScript, Kind::Judge) => files! {
            "plugin.js" from "javascript/judge/plugin.js",
            "rule.js" from "javascript/judge/rule.js",
            "rule.test.js" from "javascript/judge/rule.test.js",
        },
        (Guest::JavaScript, Kind::Ranker) => files! {
            "plugin.js" from "javascript/ranker/plugin.js",
            "rule.js" from "javascript/ranker/rule.js",
            "rule.test.js" from "javascript/ranker/rule.test.js",
        },
        (Guest::JavaScript, Kind::Regularizer) => files! {
            "plugin.js" from "javascript/regularizer/plugin.js",
            "rule.js" from "javascript/regularizer/rule.js",
            "rule.test.js" from "javascript/regularizer/rule.test.js",
        },
    }
}

/// The contract's own file, a world that asks for one kind, and the parameters.
fn contract(kind: Kind) -> Files {
    match kind {
        Kind::Judge => files! {
            "wit/world.wit" from "wit/judge.wit",
            "wit/deps/creamery-plugin/plugin.wit" from "../../../../plugin-api/wit/plugin.wit",
            "params.schema.json" from "schema/judge.json",
        },
        Kind::Ranker => files! {
            "wit/world.wit" from "wit/ranker.wit",
            "wit/deps/creamery-plugin/plugin.wit" from "../../../../plugin-api/wit/plugin.wit",
            "params.schema.json" from "schema/ranker.json",
        },
        Kind::Regularizer => files! {
            "wit/world.wit" from "wit/regularizer.wit",
            "wit/deps/creamery-plugin/plugin.wit" from "../../../../plugin-api/wit/plugin.wit",
            "params.schema.json" from "schema/regularizer.json",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_to_fill_in() {
        for language in [Guest::C, Guest::Python, Guest::JavaScript] {
            for kind in [Kind::Judge, Kind::Ranker, Kind::Regularizer] {
                let files = files(language, kind, "my-own");
                assert!(files.len() >= 8, "{language:?} {kind}");
                for (path, text) in &files {
                    if !["README.md", "plugin.toml"].contains(path) {
                        continue;
                    }
                    assert!(text.contains("my-own") && text.contains(kind.name()), "{language:?} {kind} {path}");
                    assert!(!text.replace("@1.1.0", "").contains('@'), "{language:?} {kind} {path}:\n{text}");
                }
            }
        }
    }
}
