//! What a plugin's build depends on: its sources, those of its path dependencies, and its workspace's settings.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::error::{Error, Result};

/// A package's manifest.
pub(super) struct Manifest {
    pub file: PathBuf,
    pub table: Table,
}

impl Manifest {
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let file = folder.join("Cargo.toml");
        let text = fs::read_to_string(&file).map_err(|e| Error::io("read", &file, &e))?;
        let table = text.parse::<Table>().map_err(|e| {
            let line = e.span().map(|s| text[..s.start].lines().count().max(1));
            let error = Error::plugin(format!("not a valid Cargo.toml: {}", e.message())).file(&file);
            match line {
                Some(line) => error.line(line),
                None => error,
            }
        })?;
        Ok(Manifest { file, table })
    }

    pub(super) fn package_name(&self) -> Option<&str> {
        self.table.get("package")?.get("name")?.as_str()
    }

    /// `[package.metadata.creamery] artifact`
    pub(super) fn wanted_artifact(&self) -> Option<&Value> {
        self.table.get("package")?.get("metadata")?.get("creamery")?.get("artifact")
    }
}

/// The sources of a package.
pub(super) struct Sources {
    /// Of all that decides the result of a build, but for the compiler and Cargo.lock.
    pub digest: blake3::Hash,
    /// Names the folders of the path dependencies.
    pub dependencies: String,
    pub files: BTreeSet<PathBuf>,
    /// The Cargo.lock of each package and workspace: cargo's, not the author's, and so part of what is locked alone.
    pub locks: BTreeSet<PathBuf>,
}

/// Reads all sources that the package in `folder` is built from.
pub(super) fn read(folder: &Path) -> Result<Sources> {
    let mut folders = BTreeSet::new();
    let mut files = BTreeSet::new();
    collect(folder, &mut folders, &mut files)?;
    let mut dependencies = blake3::Hasher::new();
    for other in &folders {
        list(other, true, &mut files)?;
        if other != folder {
            dependencies.update(other.as_os_str().as_encoded_bytes()).update(&[0]);
        }
    }
    let mut hasher = blake3::Hasher::new();
    for file in &files {
        let bytes = fs::read(file).map_err(|e| Error::io("read", file, &e))?;
        hasher.update(file.as_os_str().as_encoded_bytes());
        hasher.update(&[0]);
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(&bytes);
    }
    let dependencies = dependencies.finalize().to_hex()[..16].to_owned();
    let roots = folders.iter().filter_map(|folder| workspace_root(folder)).collect::<Vec<_>>();
    let locks = folders.iter().chain(&roots).map(|folder| folder.join("Cargo.lock")).collect();
    Ok(Sources { digest: hasher.finalize(), dependencies, files, locks })
}

/// What the sources of a plugin are, the same on every machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceDigest {
    /// Of all names and contents: BLAKE3, in hex.
    pub whole: String,
    /// The beginning of each file's own digest. It only tells which file was changed; the whole decides.
    pub files: BTreeMap<String, String>,
    /// Whether packages that are installed beside them went into what was built. They are in no digest.
    pub packages: bool,
}

impl SourceDigest {
    /// `files`: names, with `/` between their parts, and contents.
    pub(super) fn of<'a>(files: impl Iterator<Item = (String, Cow<'a, [u8]>)>) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("creamery 1 locked sources");
        let mut short = BTreeMap::new();
        for (name, bytes) in files {
            for part in [name.as_bytes(), &bytes] {
                hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
            }
            short.insert(name, blake3::hash(&bytes).to_hex()[..16].to_owned());
        }
        SourceDigest { whole: hasher.finalize().to_hex().to_string(), files: short, packages: false }
    }
}

/// The digest of the sources: files by their place relative to `folder`, with the Cargo.lock and the manifest of the
/// workspace, and settings of cargo in these folders. Those of the machine, and the compiler, are not in it.
pub(super) fn locked(folder: &Path) -> Result<SourceDigest> {
    let mut folders = BTreeSet::new();
    let mut files = BTreeSet::new();
    let folder = folder.canonicalize().map_err(|e| Error::io("open", folder, &e))?;
    collect(&folder, &mut folders, &mut BTreeSet::new())?;
    for other in &folders {
        list(other, true, &mut files)?;
    }
    if let Some(root) = workspace_root(&folder) {
        files.insert(root.join("Cargo.toml"));
        folders.insert(root);
    }
    for folder in &folders {
        for name in SETTINGS.iter().chain(&["Cargo.lock"]) {
            let file = folder.join(name);
            if file.is_file() {
                files.insert(file);
            }
        }
    }
    let mut named: Vec<(String, PathBuf)> = files.into_iter().map(|file| (relative(&file, &folder), file)).collect();
    named.sort();
    let read = |(name, file): (String, PathBuf)| match fs::read(&file) {
        Ok(bytes) => Ok((name, Cow::Owned(bytes))),
        Err(e) => Err(Error::io("read", &file, &e)),
    };
    Ok(SourceDigest::of(named.into_iter().map(read).collect::<Result<Vec<_>>>()?.into_iter()))
}

/// The way from `folder` to `file`, with `/` between its parts.
fn relative(file: &Path, folder: &Path) -> String {
    let common = file.components().zip(folder.components()).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..".into(), folder.components().count() - common);
    let down = file.components().skip(common).map(|part| part.as_os_str().to_string_lossy());
    up.chain(down).collect::<Vec<_>>().join("/")
}

/// What decides how cargo works, wherever it lies above a package.
const SETTINGS: [&str; 4] = ["rust-toolchain.toml", "rust-toolchain", ".cargo/config.toml", ".cargo/config"];

/// The Cargo.lock that a build of `folder` uses; empty before the first build of a package without one.
pub(super) fn lock(folder: &Path) -> Vec<u8> {
    let root = workspace_root(folder).unwrap_or_else(|| folder.to_owned());
    fs::read(root.join("Cargo.lock")).unwrap_or_default()
}

/// Adds the package in `folder` and its path dependencies, and the settings that apply to them.
fn collect(folder: &Path, folders: &mut BTreeSet<PathBuf>, files: &mut BTreeSet<PathBuf>) -> Result<()> {
    let folder = folder.canonicalize().map_err(|e| Error::io("open", folder, &e))?;
    if !folders.insert(folder.clone()) {
        return Ok(());
    }
    let manifest = Manifest::read(&folder)?;
    let root = workspace_root(&folder);
    let shared = match &root {
        Some(root) => Manifest::read(root)?.table,
        None => Table::new(),
    };
    for parent in folder.ancestors() {
        for name in SETTINGS {
            let file = parent.join(name);
            if file.is_file() {
                files.insert(file);
            }
        }
    }
    if let Some(root) = &root {
        files.insert(root.join("Cargo.toml"));
    }
    // What stands in for other packages counts where cargo looks for it: in the workspace's manifest.
    let (patching, base) = match &root {
        Some(root) => (&shared, root),
        None => (&manifest.table, &folder),
    };
    for path in patches(patching) {
        collect(&base.join(path), folders, files)
            .map_err(|e| e.context(format!("following [patch] of {}", base.join("Cargo.toml").display())))?;
    }
    for (name, dependency) in dependencies(&manifest.table) {
        let path = |d: &Value, base: &Path| d.get("path").and_then(Value::as_str).map(|p| base.join(p));
        let inherited = dependency.get("workspace").and_then(Value::as_bool) == Some(true);
        let found = match (&root, inherited) {
            (Some(root), true) => {
                let dependency = shared.get("workspace").and_then(|w| w.get("dependencies")?.get(name));
                dependency.and_then(|d| path(d, root))
            }
            _ => path(dependency, &folder),
        };
        if let Some(found) = found {
            collect(&found, folders, files).map_err(|e| {
                e.context(format!("following the path dependency '{name}' of {}", manifest.file.display()))
            })?;
        }
    }
    Ok(())
}

/// The dependencies that a library build uses, those of all targets included.
fn dependencies(manifest: &Table) -> Vec<(&str, &Value)> {
    let mut tables = vec![manifest];
    if let Some(targets) = manifest.get("target").and_then(Value::as_table) {
        tables.extend(targets.iter().filter_map(|(_, t)| t.as_table()));
    }
    let mut found = Vec::new();
    for table in tables {
        for name in ["dependencies", "build-dependencies"] {
            if let Some(list) = table.get(name).and_then(Value::as_table) {
                found.extend(list.iter().map(|(name, value)| (name.as_str(), value)));
            }
        }
    }
    found
}

/// The paths under [patch] and [replace].
fn patches(manifest: &Table) -> Vec<&str> {
    let of = |name: &str| manifest.get(name).and_then(Value::as_table);
    let registries = of("patch").into_iter().flat_map(|t| t.values()).filter_map(Value::as_table);
    registries.chain(of("replace")).flat_map(|t| t.values()).filter_map(|p| p.get("path")?.as_str()).collect()
}

/// The folder of the workspace that `folder` belongs to, as cargo finds it.
fn workspace_root(folder: &Path) -> Option<PathBuf> {
    let manifest = |folder: &Path| fs::read_to_string(folder.join("Cargo.toml")).ok()?.parse::<Table>().ok();
    let named = manifest(folder)
        .and_then(|table| Some(folder.join(table.get("package")?.get("workspace")?.as_str()?)))
        .and_then(|root| root.canonicalize().ok());
    named.or_else(|| {
        let root = folder.ancestors().find(|parent| manifest(parent).is_some_and(|m| m.contains_key("workspace")));
        root.map(Path::to_owned)
    })
}

/// All source files below `folder`: no hidden ones; of the package's own folder neither the build output (`target`) nor the
/// lock file. A build that reads others is refused by its dep-info.
fn list(folder: &Path, package: bool, files: &mut BTreeSet<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).map_err(|e| Error::io("list", folder, &e))?;
    for entry in entries {
        let entry = entry.map_err(|e| Error::io("list", folder, &e))?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") || (package && (name == "target" || name == "Cargo.lock")) {
            continue;
        }
        let path = entry.path();
        let kind = entry.file_type().map_err(|e| Error::io("read", &path, &e))?;
        if kind.is_dir() {
            list(&path, false, files)?;
        } else if path.is_file() {
            files.insert(path);
        } else if path.is_dir() {
            return Err(Error::plugin("this is a link to a folder, so nobody can say what the plugin is made of")
                .file(&path)
                .help("put the folder itself there, or make it a path dependency"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every file that a build may read changes the digest; what cargo makes itself, and hidden files, do not.
    #[test]
    fn what_is_in_the_digest() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let file = folder.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        write("mine/Cargo.toml", "[package]\nname = \"mine\"\nworkspace = \"../ws\"\n");
        write("ws/Cargo.toml", "[workspace]\nmembers = [\"../mine\"]\n");
        let digest = || locked(&folder.path().join("mine")).unwrap();
        let mut last = digest();
        for (name, counts) in [
            ("mine/src/lib.rs", true),
            ("mine/src/Cargo.lock", true),
            ("mine/src/target", true),
            ("mine/Cargo.lock", true),
            ("ws/Cargo.lock", true),
            ("mine/target/made", false),
            ("mine/.git/HEAD", false),
        ] {
            write(name, "text");
            let now = digest();
            assert_eq!(now != last, counts, "{name}");
            last = now;
        }
        assert!(last.files.contains_key("../ws/Cargo.lock"), "{:?}", last.files);
        assert!(read(&folder.path().join("mine")).unwrap().files.iter().any(|f| f.ends_with("src/Cargo.lock")));
    }
}
