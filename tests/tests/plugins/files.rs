//! Files that are not plugins, or not for this host.

use std::fs;

use creamery::plugins::{Kind, descriptor, inspect};
use serde_json::json;
use tempfile::TempDir;

use super::*;

/// Loads `bytes` from a file `name` as a regularizer, with native plugins allowed.
fn load(name: &str, bytes: &[u8]) -> Result<Box<dyn RegularizerPlugin>> {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join(name), bytes).unwrap();
    load_regularizer(name, folder.path(), &Params::of(&json!({})), &options())
}

fn cream(artifact: Artifact) -> Vec<u8> {
    fs::read(built("cream", artifact)).unwrap()
}

/// `bytes` with the only occurrence of `from` replaced.
pub(super) fn patched(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let places: Vec<usize> =
        (0..bytes.len() - from.len()).filter(|i| bytes[*i..].starts_with(from.as_bytes())).collect();
    assert_eq!(places.len(), 1, "{from} should be there once");
    let mut bytes = bytes.to_vec();
    bytes[places[0]..places[0] + to.len()].copy_from_slice(to.as_bytes());
    bytes
}

#[test]
fn files_that_are_not_plugins() {
    let (native, component) = (cream(Artifact::Native), cream(Artifact::Component));
    let module = [b"\0asm".as_slice(), &[1, 0, 0, 0]].concat();
    let empty_component = [b"\0asm".as_slice(), &[0x0d, 0, 1, 0]].concat();
    let program = fs::read(std::env::current_exe().unwrap()).unwrap();
    let stripped = patched(&native, "CREAMERY-PLUGIN\0", "CREAMERY-PLUGIM\0");
    let cases: &[(&str, &[u8], &str)] = &[
        ("empty.so", b"", "not a plugin: the file is empty"),
        ("text.wasm", "Just some text, süß.".as_bytes(), "not a plugin: this is a text file"),
        ("noise.so", &[0xff, 0xfe, 0x00, 0x9a, 0x80], "neither a shared library nor a WebAssembly component"),
        ("short.so", &native[..40], "truncated or damaged"),
        ("half.so", &native[..native.len() / 2], "truncated or damaged"),
        ("short.wasm", &component[..10], "truncated or damaged"),
        ("half.wasm", &component[..component.len() / 2], "truncated or damaged"),
        ("module.wasm", &module, "a WebAssembly module, but not a component"),
        ("other.wasm", &empty_component, "a WebAssembly file without a plugin descriptor"),
        ("other.so", &stripped, "a shared library or program without a plugin descriptor"),
        ("fat.dylib", &[0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 2], "universal Mach-O"),
    ];
    for (name, bytes, part) in cases {
        let error = fails(load(name, bytes));
        says(&error, &[part, name, "help: "]);
        assert_eq!(error.kind(), creamery::Kind::Plugin);
    }
    // This test's own program has the builtin plugins linked in, but is no plugin.
    assert!(load("program", &program).is_err());
}

#[test]
fn missing_files_and_folders() {
    let folder = TempDir::new().unwrap();
    let load = |source: &str| fails(load_judge(source, folder.path(), &Params::of(&json!({})), &options()));
    says(
        &load("nothing.wasm"),
        &["nothing.wasm: cannot read the file", "in a config file, relative paths start at its folder"],
    );
    fs::create_dir(folder.path().join("dir")).unwrap();
    says(&load("dir"), &["a folder without a Cargo.toml"]);
}

/// A component that is nothing but a descriptor.
fn descriptor_alone(json: &str) -> Vec<u8> {
    fn leb(mut n: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while n > 127 {
            bytes.push((n & 127) as u8 | 128);
            n >>= 7;
        }
        bytes.push(n as u8);
        bytes
    }
    let name = descriptor_name();
    let length = (json.len() as u32).to_le_bytes();
    let body =
        [&leb(name.len()), name.as_bytes(), &creamery_plugin::descriptor::MAGIC, &length, json.as_bytes()].concat();
    [b"\0asm", &[0x0d, 0, 1, 0, 0][..], &leb(body.len()), &body].concat()
}

/// What a plugin says about itself is read before anybody is asked whether to trust it, so it must cost nothing.
#[test]
fn a_descriptor_costs_no_more_than_it_should() {
    let with = |params: &str| {
        descriptor_alone(&format!(
            r#"{{"kind":"regularizer","name":"big","version":"1.0.0","abi":"1.1","params":{params}}}"#
        ))
    };
    let large = with(&format!(r#"{{"x":[{}1]}}"#, "[],".repeat(1 << 20)));
    says(&fails(load("large.wasm", &large)), &["its descriptor has", "at most 1048576 are allowed"]);
    // Each of 40 definitions doubles the next one.
    let definition = |i: usize| {
        let next = format!(r##"{{"$ref":"#/$defs/d{}"}}"##, i + 1);
        format!(r#""d{i}":{{"allOf":[{next},{next}]}}"#)
    };
    let definitions: Vec<String> = (0..40).map(definition).collect();
    let doubling = with(&format!(
        r##"{{"type":"object","properties":{{"x":{{"$ref":"#/$defs/d0","default":1}}}},"$defs":{{{},"d40":{{"type":"number"}}}}}}"##,
        definitions.join(",")
    ));
    says(
        &fails(load("doubling.wasm", &doubling)),
        &["the parameter schema of plugin 'big' has more than 20000 places"],
    );
    let endless = with(r##"{"properties":{"x":{"$ref":"#/properties/x"}}}"##);
    says(&fails(load("endless.wasm", &endless)), &["refers to itself"]);
    // Whose it is comes before what it says.
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("doubling.wasm"), &doubling).unwrap();
    let trust = creamery::plugins::Trust { require_signature: true, ..Default::default() };
    let options = LoadOptions { trust, ..options() };
    let error = fails(load_regularizer("doubling.wasm", folder.path(), &Params::of(&json!({})), &options));
    says(&error, &["sign"]);
    assert!(!error.to_string().contains("20000"), "{error}");
}

#[test]
fn the_wrong_kind() {
    let names = [("cream", Artifact::Native), ("cream", Artifact::Component), ("best-worst", Artifact::Component)];
    for (name, form) in names {
        let file = built(name, form);
        let error = fails(load_judge(file.to_str().unwrap(), &root(), &Params::of(&json!({})), &options()));
        let found = if name == "cream" { "regularizer" } else { "ranker" };
        says(&error, &[&format!("plugin '{name}' is a {found}, but a judge is expected here")]);
        says(&error, &[file.to_str().unwrap()]);
    }
}

#[test]
fn future_versions_of_the_contract() {
    for form in [Artifact::Native, Artifact::Component] {
        let bytes = cream(form);
        let newer = |abi: &str| patched(&bytes, "\"abi\":\"1.1\"", &format!("\"abi\":\"{abi}\""));
        let file = if form == Artifact::Native { "cream.so" } else { "cream.wasm" };

        let error = fails(load(file, &newer("2.0")));
        says(&error, &["plugin 'cream' has ABI 2.0, but this program supports ABI 1.0 to 1.x", "update creamery"]);
        let error = fails(load(file, &newer("0.9")));
        says(&error, &["has ABI 0.9", "build the plugin again"]);
        says(&fails(load(file, &newer("one"))), &["no valid ABI version (found \"one\""]);

        // A newer minor version only adds, so it is welcome unless it needs what this host does not have.
        let plugin = load(file, &newer("1.7")).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(plugin.info().descriptor.abi, (1, 7));
        let features = "\"features\":[\"c-mix\"],\"requires\":[]";
        let needy = patched(&newer("1.7"), features, "\"features\":[],\"requires\":[\"dream\"]");
        let error = fails(load(file, &needy));
        says(&error, &["plugin 'cream' (ABI 1.7) requires dream, which this program (ABI 1.1) does not offer"]);

        says(&fails(load(file, &patched(&bytes, "{\"kind\":\"reg", "{\"kind\";\"reg"))), &["not valid JSON"]);
        says(&fails(load(file, &patched(&bytes, "\"kind\":\"regul", "\"kind\":\"ragul"))), &["unknown variant"]);
    }
}

#[test]
fn a_library_for_another_machine() {
    let mut bytes = cream(Artifact::Native);
    if !bytes.starts_with(b"\x7fELF") {
        return;
    }
    // e_machine
    let (code, name) = if cfg!(target_arch = "x86_64") { (0xb7u16, "aarch64") } else { (0x3e, "x86_64") };
    bytes[18..20].copy_from_slice(&code.to_le_bytes());
    let error = fails(load("cream.so", &bytes));
    let here = format!("this program runs on {}-{}", std::env::consts::OS, std::env::consts::ARCH);
    says(&error, &[&format!("plugin 'cream' is built for linux-{name}"), &here, "its .wasm form, which runs anywhere"]);
    // Its descriptor can be read anywhere.
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("cream.so"), &bytes).unwrap();
    let found = inspect("cream.so", folder.path(), &options()).unwrap();
    assert_eq!((found.kind, found.platform), (Kind::Regularizer, Some(format!("linux-{name}"))));
}

#[test]
fn native_plugins_must_be_allowed() {
    let file = built("cream", Artifact::Native);
    let refuse = |source: &str| {
        let options = LoadOptions { allow_native: false, ..in_form(Artifact::Native) };
        fails(load_regularizer(source, &root(), &Params::of(&json!({})), &options))
    };
    let error = refuse(file.to_str().unwrap());
    says(&error, &["plugin 'cream' is a native library", "all rights of this program", "allow-native = true"]);
    says(&refuse(&folder("cream")), &["would be built as a native library", "allow-native = true"]);
    // A component needs no permission.
    let options = LoadOptions { allow_native: false, ..options() };
    let component = built("cream", Artifact::Component);
    load_regularizer(component.to_str().unwrap(), &root(), &Params::of(&json!({})), &options).unwrap();
}

/// Components that want files, connections, clocks, randomness, the environment or anything else, built by hand.
#[test]
fn a_component_is_granted_nothing() {
    let wanted = [
        "wasi:filesystem/types@0.2.0",
        "wasi:filesystem/preopens@0.2.3",
        "wasi:sockets/tcp@0.2.0",
        "wasi:http/outgoing-handler@0.2.0",
        "wasi:clocks/wall-clock@0.2.0",
        "wasi:clocks/monotonic-clock@0.2.6",
        "wasi:cli/environment@0.2.0",
        "wasi:cli/stdout@0.2.0",
        "wasi:random/random@0.2.0",
        "wasi:random/insecure-seed@0.2.0",
        "creamery:plugin/host@2.0.0",
        "creamery:plugin/hostess@1.0.0",
        "a:b/c",
    ];
    for import in wanted {
        let error = fails(load("spy.wasm", &importing(import)));
        says(&error, &[&format!("it imports {import}, but plugins are granted nothing"), "wasm32-unknown-unknown"]);
    }
}

/// A regularizer's component that imports an instance and exports nothing.
fn importing(import: &str) -> Vec<u8> {
    let json = r#"{"kind":"regularizer","name":"spy","version":"1.0.0","abi":"1.0","params":{}}"#;
    let mut section = creamery_plugin::descriptor::MAGIC.to_vec();
    section.extend((json.len() as u32).to_le_bytes());
    section.extend(json.bytes());
    let custom = [&[descriptor_name().len() as u8][..], descriptor_name().as_bytes(), &section].concat();
    let mut bytes = vec![0, b'a', b's', b'm', 0x0d, 0, 1, 0];
    bytes.extend([7, 3, 1, 0x42, 0]); // one type: an instance that exports nothing
    bytes.extend([10, import.len() as u8 + 5, 1, 0, import.len() as u8]); // one import of that type
    bytes.extend(import.bytes());
    bytes.extend([5, 0]);
    bytes.extend([0, 0x80 | (custom.len() & 0x7f) as u8, (custom.len() >> 7) as u8]);
    bytes.extend(custom);
    bytes
}

fn descriptor_name() -> &'static str {
    creamery_plugin::descriptor::WASM_SECTION
}

#[test]
fn compiled_code_is_cached_and_never_trusted_from_outside() {
    let component = built("cream", Artifact::Component);
    let cache = TempDir::new().unwrap();
    let (options, messages) = recording(LoadOptions { cache_dir: cache.path().join("c"), ..options() });
    let load = || load_regularizer(component.to_str().unwrap(), &root(), &Params::of(&json!({})), &options);
    let compiled = cache.path().join("c/compiled");
    let entries = || -> Vec<PathBuf> { fs::read_dir(&compiled).unwrap().map(|e| e.unwrap().path()).collect() };

    load().unwrap();
    assert_eq!(entries().len(), 2);
    let file = entries().into_iter().find(|e| e.extension().is_some_and(|e| e == "cwasm")).unwrap();
    let code = fs::read(&file).unwrap();
    let digest = file.with_extension("b3");
    let hash = fs::read(&digest).unwrap();
    assert_eq!(hash.len(), 32);
    load().unwrap();
    assert_eq!(fs::read(&file).unwrap(), code);

    // What is damaged, or what a kill left half done, is made again.
    let flipped = [&code[..code.len() / 2], &[!code[code.len() / 2]], &code[code.len() / 2 + 1..]].concat();
    for (what, damaged) in [("short", &code[..code.len() - 1]), ("empty", &[]), ("flipped", &flipped)] {
        fs::write(&file, damaged).unwrap();
        load().unwrap();
        assert_eq!(fs::read(&file).unwrap(), code, "{what}");
    }
    for what in ["no digest", "another digest"] {
        match what {
            "no digest" => fs::remove_file(&digest).unwrap(),
            _ => fs::write(&digest, [7; 32]).unwrap(),
        }
        load().unwrap();
        assert_eq!(fs::read(&digest).unwrap(), hash, "{what}");
    }
    assert!(messages.lock().unwrap().is_empty(), "{:?}", messages.lock().unwrap());

    // The code itself, as a file from outside.
    let error = fails(self::load("cream.cwasm", &code));
    says(&error, &["compiled ahead of time (.cwasm), which is never loaded"]);

    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |mode| fs::set_permissions(&compiled, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(fs::metadata(&compiled).unwrap().permissions().mode() & 0o777, 0o700);
        mode(0o755);
        fs::remove_file(&file).unwrap();
        fs::remove_file(&digest).unwrap();
        load().unwrap();
        assert!(entries().is_empty(), "nothing is kept in a folder that others can open");
        let messages = messages.lock().unwrap();
        assert!(messages[0].contains("others can open it (mode 755)"), "{messages:?}");
    }
}

/// A library replaced by another build under the same name is a new plugin: nothing is cached by type.
#[test]
fn two_native_plugins_of_one_kind_do_not_mix() {
    let mut cream = regularizer("cream", Artifact::Native, &json!({})).unwrap();
    let mut none = regularizer("none", Artifact::Native, &json!({})).unwrap();
    let scores = creamery_plugin::testkit::scores(&[
        ("current", &[Some(2.0), Some(1.0)]),
        ("previous", &[Some(1.0), Some(2.0)]),
    ]);
    let groups = creamery_plugin::testkit::groups(&[("one", &["a", "b"])]);
    let pairs = vec![creamery_plugin::testkit::pair(0, 0, 1)];
    let records = creamery_plugin::testkit::records(groups, scores, pairs);
    assert_eq!(none.label(&records).unwrap().consistency, [1.0]);
    assert_eq!(cream.label(&records).unwrap().consistency, [0.0]);
    assert_eq!(descriptor::read(none.info().path.as_ref().unwrap()).unwrap().name, "none");
}
