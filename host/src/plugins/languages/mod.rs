//! Plugins in other languages than Rust: a folder with a `plugin.toml` is built to a component on first use.
//!
//! `plugin.toml` says what a descriptor says, `params.schema.json` what the parameters are; the tools of the language make
//! a component of the rest, and the descriptor is added to it here. None of the components has a WASI import.
//!
//! | language | tool | files |
//! |---|---|---|
//! | C | clang, and wasm-component-ld, which every Rust toolchain has | all `.c` files but `test*.c`; `wit/` |
//! | Python | componentize-py | `plugin.py` and what it imports; `wit/` |
//! | JavaScript | componentize-qjs | `plugin.js` and what it imports; `wit/` |

mod c;
mod glue;
mod javascript;
mod manifest;
mod packages;
mod python;
mod tool;

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use creamery_plugin::Level;
use creamery_plugin::descriptor::{MAGIC, WASM_SECTION};

use self::manifest::{Language, Manifest};
use self::packages::Packages;
use super::build::{keep, kept};
use super::descriptor::{self, Artifact};
use super::sources::SourceDigest;
use super::{LoadOptions, log, private};
use crate::error::{Error, Result};

/// What a folder of such a plugin is known by.
pub(super) const MANIFEST: &str = "plugin.toml";

/// The built component of the plugin in `folder`, from the cache or built now, and the digest of its sources.
pub(super) fn build(folder: &Path, options: &LoadOptions) -> Result<(PathBuf, SourceDigest)> {
    let folder = folder.canonicalize().map_err(|e| Error::io("open", folder, &e))?;
    let manifest = Manifest::read(&folder)?;
    if options.artifact == Some(Artifact::Native) {
        let language = manifest.language.name();
        return Err(Error::plugin(format!("a plugin in {language} cannot be built as a native library"))
            .file(folder.join(MANIFEST))
            .help("leave the artifact out, or name a component"));
    }
    let built = options.cache_dir.join("built");
    private::folder(&built)
        .map_err(|why| Error::plugin(format!("cannot keep built plugins in this folder: {why}")).file(&built))?;
    let sources = sources(&folder, manifest.language)?;
    let mut digest = locked(&sources);
    options.trust.check_code(&manifest.name, &digest.whole, Some(&digest), Artifact::Component)?;
    // What these sources were last built to, by whatever tools. Where all is locked that will do: tools that lie in the
    // plugin's own folder came with it and are locked by nobody, so they are not even asked for their version.
    let last = built.join(format!("{}-{}.last", &digest.whole[..32], env!("CARGO_PKG_VERSION")));
    let own_tools = !options.trust.locked;
    if !own_tools {
        let place = fs::read_to_string(&last).ok().filter(|key| key.bytes().all(|b| b.is_ascii_hexdigit()));
        if let Some(file) = place.and_then(|key| kept(&built.join(key))) {
            return Ok((file, digest));
        }
    }
    let tools = tool::Tools::find(manifest.language, &folder, own_tools)?;
    // Nobody has locked them either.
    let packages = match manifest.language {
        Language::JavaScript if own_tools => javascript::packages(&folder)?,
        Language::Python if own_tools => python::packages(&folder)?,
        _ => Packages::default(),
    };
    digest.packages = !packages.files.is_empty();
    let key = key(sources.iter().chain(&packages.files), &tools);
    let remembered = |file: PathBuf| {
        // Where all is locked, nothing is to be found that was built with them.
        if packages.files.is_empty() {
            private::write(&last, key.as_bytes()).map_err(|e| Error::io("write", &last, &e))?;
        }
        Ok((file, digest))
    };
    let place = built.join(&key);
    // One at a time: the tools are hungry.
    static BUILDING: Mutex<()> = Mutex::new(());
    let _building = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(file) = kept(&place) {
        return remembered(file);
    }
    let message = format!("building {} ({}) as a component, on first use", folder.display(), manifest.language.name());
    log::host(options, &manifest.name, Level::Info, &message);
    let work = built.join("work").join(private::unique("build"));
    fs::create_dir_all(&work).map_err(|e| Error::io("create the folder", &work, &e))?;
    let made = make(&folder, &manifest, &tools, &sources, &packages, &work);
    let _ = fs::remove_dir_all(&work);
    let installed = ["node_modules", ".venv"].iter().any(|name| folder.join(name).is_dir());
    let made = made.map_err(|e| match !own_tools && installed {
        true => {
            e.help("with --locked, packages in node_modules and .venv are not used: lock the built .wasm file instead")
        }
        false => e,
    });
    remembered(keep(&made?, &place.join(format!("{}.wasm", manifest.name)))?)
}

/// The bytes of the finished component.
fn make(
    folder: &Path,
    manifest: &Manifest,
    tools: &tool::Tools,
    sources: &[Source],
    packages: &Packages,
    work: &Path,
) -> Result<Vec<u8>> {
    let output = work.join("component.wasm");
    match manifest.language {
        Language::C => c::component(folder, tools, sources, work, &output)?,
        Language::Python => python::component(folder, manifest.kind, tools, sources, packages, work, &output)?,
        Language::JavaScript => javascript::component(folder, manifest.kind, tools, sources, packages, work, &output)?,
    }
    let mut bytes = fs::read(&output).map_err(|e| Error::io("read", &output, &e))?;
    bytes.extend_from_slice(&section(&manifest.descriptor()));
    descriptor::read_bytes(&bytes).map_err(|e| e.file(folder.join(MANIFEST)))?;
    Ok(bytes)
}

/// A custom section with the descriptor. A component may be followed by one.
fn section(json: &[u8]) -> Vec<u8> {
    let mut body = leb(WASM_SECTION.len());
    body.extend_from_slice(WASM_SECTION.as_bytes());
    body.extend_from_slice(&MAGIC);
    body.extend_from_slice(&(json.len() as u32).to_le_bytes());
    body.extend_from_slice(json);
    let mut section = vec![0];
    section.extend(leb(body.len()));
    section.extend(body);
    section
}

/// An unsigned LEB128 number.
fn leb(mut n: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (n & 127) as u8;
        n >>= 7;
        if n == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 128);
    }
}

/// A file of a plugin's folder.
struct Source {
    /// Relative to the folder.
    name: PathBuf,
    bytes: Vec<u8>,
}

/// All files below the folder that may decide the result, by name: no hidden ones, no installed packages, no build output. Of
/// C those that a compiler reads: the program that its tests are compiled to lies beside them.
fn sources(folder: &Path, language: Language) -> Result<Vec<Source>> {
    /// At the folder's top.
    const SKIPPED: &[&str] = &["node_modules", "target", "venv"];
    const OF_C: &[&str] = &["c", "h", "inc", "def", "wit", "toml", "json"];
    let counts = |path: &Path| match path.extension().and_then(|e| e.to_str()) {
        _ if language != Language::C => path.extension().is_none_or(|e| e != "wasm"),
        Some(extension) => OF_C.contains(&extension),
        None => false,
    };
    const MOST: usize = 10_000;
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(inner) = folders.pop() {
        let path = folder.join(&inner);
        for entry in fs::read_dir(&path).map_err(|e| Error::io("list", &path, &e))? {
            let entry = entry.map_err(|e| Error::io("read", &path, &e))?;
            let name = entry.file_name();
            let skipped = SKIPPED.iter().any(|s| name == *s) && inner.as_os_str().is_empty();
            if name.as_encoded_bytes().starts_with(b".") || name == "__pycache__" || skipped {
                continue;
            }
            let (path, name) = (entry.path(), inner.join(name));
            let kind = entry.file_type().map_err(|e| Error::io("read", &path, &e))?;
            if kind.is_dir() {
                folders.push(name);
            } else if path.is_dir() {
                return Err(Error::plugin("this is a link to a folder, which is not followed")
                    .file(&path)
                    .help("put the folder itself there"));
            } else if path.is_file() && counts(&path) {
                let bytes = fs::read(&path).map_err(|e| Error::io("read", &path, &e))?;
                found.push(Source { name, bytes });
            }
            if found.len() + folders.len() > MOST {
                return Err(Error::plugin(format!("this folder holds more than {MOST} files"))
                    .file(folder)
                    .help("name a folder that holds the plugin alone"));
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// The digest of the sources. Installed packages are not in it.
fn locked(sources: &[Source]) -> SourceDigest {
    let name = |s: &Source| s.name.components().map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/");
    SourceDigest::of(sources.iter().map(|s| (name(s), Cow::Borrowed(&s.bytes[..]))))
}

/// Names the result of a build.
fn key<'a>(sources: impl Iterator<Item = &'a Source>, tools: &tool::Tools) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    part(creamery_plugin::API_VERSION.as_bytes());
    part(env!("CARGO_PKG_VERSION").as_bytes());
    part(tools.version().as_bytes());
    glue::TEXTS.iter().for_each(|text| part(text.as_bytes()));
    for source in sources {
        part(source.name.as_os_str().as_encoded_bytes());
        part(&source.bytes);
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_leb128() {
        let cases: &[(usize, &[u8])] =
            &[(0, &[0]), (127, &[127]), (128, &[0x80, 1]), (300, &[0xac, 2]), (624_485, &[0xe5, 0x8e, 0x26])];
        for (n, bytes) in cases {
            assert_eq!(leb(*n), *bytes, "{n}");
        }
    }

    #[test]
    fn the_section_is_read_back() {
        let empty_component = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];
        let json = br#"{"kind": "ranker", "name": "x", "version": "1.0.0", "abi": "1.1", "params": {}}"#;
        let bytes = [&empty_component[..], &section(json)].concat();
        let found = descriptor::read_bytes(&bytes).unwrap();
        assert_eq!((found.name.as_str(), found.kind, found.abi), ("x", descriptor::Kind::Ranker, (1, 1)));
    }
}
