//! What stands between a plugin in Python or JavaScript and the contract: an entry of ours, which takes the plugin's
//! functions one by one and holds them to it. So a missing function is found while the plugin is built, a value of another
//! shape is an error that names its place, and an exception one that names its line.

use std::fs;
use std::path::{Path, PathBuf};

use super::Source;
use super::manifest::PluginKind;
use crate::error::{Error, Result};

/// All the glue, for the key of what is built with it.
pub(super) const TEXTS: [&str; 3] = [PYTHON_CONTRACT, JAVASCRIPT_CONTRACT, JAVASCRIPT_CONSOLE];
pub(super) const PYTHON_CONTRACT: &str = include_str!("guest/contract.py");
pub(super) const JAVASCRIPT_CONTRACT: &str = include_str!("guest/contract.js");
pub(super) const JAVASCRIPT_CONSOLE: &str = include_str!("guest/console.js");

/// The interfaces that the plugin's world exports, in this order: that of its kind, and those of 1.1 that its `wit/` names.
pub(super) fn interfaces(kind: PluginKind, sources: &[Source]) -> Vec<&'static str> {
    let (base, more): (_, &[&'static str]) = match kind {
        PluginKind::Judge => ("judge", &["judge-report"]),
        PluginKind::Ranker => ("ranker", &["ranker-sources", "ranker-numbers"]),
        PluginKind::Regularizer => ("regularizer", &["regularizer-columns"]),
    };
    let own_wit =
        |s: &&Source| s.name.parent() == Some(Path::new("wit")) && s.name.extension().is_some_and(|e| e == "wit");
    let worlds: Vec<String> = sources.iter().filter(own_wit).map(|s| code(&s.bytes)).collect();
    let named = |interface: &&&str| worlds.iter().any(|w| w.contains(&format!("export creamery:plugin/{interface}@")));
    std::iter::once(base).chain(more.iter().filter(named).copied()).collect()
}

/// A WIT file without its comments, and with single spaces.
fn code(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

/// "judge-report" → "JudgeReport"
pub(super) fn pascal(interface: &str) -> String {
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    interface.split('-').map(capital).collect()
}

/// "judge-report" → "judgeReport"
pub(super) fn camel(interface: &str) -> String {
    let name = pascal(interface);
    name[..1].to_lowercase() + &name[1..]
}

/// A copy of what was read, in which the tools work: what is built is what has the digest, and nothing beside it.
pub(super) fn copy<'a>(sources: impl IntoIterator<Item = &'a Source>, work: &Path) -> Result<PathBuf> {
    let folder = work.join("sources");
    for source in sources {
        write(&folder, &source.name, &source.bytes)?;
    }
    Ok(folder)
}

/// Writes files below `folder`, for a tool that wants them there.
pub(super) fn write(folder: &Path, name: &Path, bytes: &[u8]) -> Result<()> {
    let path = folder.join(name);
    let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, bytes));
    written.map_err(|e| Error::io("write", &path, &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_world_exports() {
        let source = |name: &str, text: &str| Source { name: name.into(), bytes: text.as_bytes().to_vec() };
        let world = "world plugin {\n  export creamery:plugin/ranker@1.1.0;\n  // export creamery:plugin/ranker-sources@1.1.0;\n  \
                     export\n creamery:plugin/ranker-numbers@1.1.0;\n}";
        let sources = [
            source("wit/world.wit", world),
            source("wit/deps/other.wit", "export creamery:plugin/ranker-sources@1.1.0;"),
        ];
        assert_eq!(interfaces(PluginKind::Ranker, &sources), ["ranker", "ranker-numbers"]);
        assert_eq!(interfaces(PluginKind::Judge, &[]), ["judge"]);
        assert_eq!((pascal("judge-report"), camel("judge-report")), ("JudgeReport".into(), "judgeReport".into()));
    }
}
