//! Files that nobody means well with: each fuzz target on mutated seeds, a fixed number of times, and inputs made to
//! fill the memory. Memory is counted, so that a length that is believed before it is checked shows.

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs::{self, File};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use creamery::data::Tokenizer;
use creamery::data::rows::read_prompts;
use creamery::model::{ModelConfig, Weights};

/// Counts what each thread has allocated.
struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(change: isize) {
    // Both are gone when a thread ends, and what is freed then need not be counted.
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + change);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: every call is passed on to the system's allocator as it came; counting touches only thread-local cells
// without destructors and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that this thread held at once during `f`, beyond what it held before.
fn peak<R>(f: impl FnOnce() -> R) -> (R, usize) {
    let before = LIVE.get();
    PEAK.set(before);
    let result = f();
    (result, (PEAK.get() - before).max(0) as usize)
}

const MB: usize = 1 << 20;

/// A small generator of numbers, the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n.max(1)
    }
}

/// What often breaks readers: extreme numbers, brackets, escapes, and words of our formats.
const TOKENS: [&[u8]; 40] = [
    b"0",
    b"-1",
    b"1e999",
    b"18446744073709551615",
    b"9223372036854775807",
    b"4294967296",
    b"0.5",
    b"null",
    b"true",
    b"[]",
    b"{}",
    b"[",
    b"]",
    b"{",
    b"}",
    b"\"",
    b"\\",
    b"\\ud800",
    b"\\u0000",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\0",
    b"\r\n",
    b",",
    b":",
    b"[[[[[[[[[[[[[[[[[[[[",
    b"{\"a\":{\"a\":{\"a\":{\"a\":",
    b"{{",
    b"}}",
    b"{%",
    b"%}",
    b"(((((((((((",
    b" * 99999999",
    b"range(10000000)",
    b"|tojson",
    b".format(",
    b"[::-1]",
    b"\"F8_E4M3\"",
    b"\"prompt\":",
    b"=",
];

fn mutate(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut data = seeds[random.below(seeds.len())].clone();
    for _ in 0..1 + random.below(6) {
        let at = random.below(data.len() + 1);
        let end = (at + 1 + random.below(16)).min(data.len());
        match random.below(8) {
            0 if at < data.len() => data[at] ^= 1 << random.below(8),
            1 if at < data.len() => data[at] = [0, 1, 0x7f, 0x80, 0xff, b'9', b'"', b'{'][random.below(8)],
            2 => drop(data.drain(at..end)),
            3 => {
                let part = data[at..end].to_vec();
                data.splice(at..at, part);
            }
            4 => data.truncate(at),
            5 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                let to = (from + random.below(200)).min(other.len());
                data.splice(at..at, other[from..to].iter().copied());
            }
            6 if data.len() >= 8 && random.below(4) == 0 => {
                data[..8].copy_from_slice(&[0, 1, 99_999_999, u64::MAX][random.below(4)].to_le_bytes());
            }
            // A number becomes another.
            6 => {
                if let Some(digit) = data[at..].iter().position(u8::is_ascii_digit) {
                    let start = at + digit;
                    let length = data[start..].iter().take_while(|b| b.is_ascii_digit()).count();
                    data.splice(start..start + length, TOKENS[random.below(9)].iter().copied());
                }
            }
            _ => {
                data.splice(at..at, TOKENS[random.below(TOKENS.len())].iter().copied());
            }
        }
    }
    data
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus")).join(target);
    let mut files: Vec<_> = fs::read_dir(&folder).expect("the seeds").map(|e| e.expect("a seed").path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).expect("a seed")).collect()
}

/// What was found once stays here: every file must be refused or read, in bounded memory.
fn run(target: &str, iterations: usize) {
    let (_, body) = fuzz::TARGETS.into_iter().find(|(name, _)| *name == target).expect("a target of this name");
    let seeds = seeds(target);
    assert!(!seeds.is_empty());
    let mut random = Random(seeds.len() as u64);
    for i in 0..seeds.len() + iterations {
        let input = if i < seeds.len() { seeds[i].clone() } else { mutate(&seeds, &mut random) };
        let (ended, bytes) = peak(|| catch_unwind(AssertUnwindSafe(|| body(&input))));
        let shown = || input.escape_ascii().to_string();
        assert!(ended.is_ok(), "{target}: input {i} panics: {}", shown());
        assert!(bytes < 64 * MB, "{target}: input {i} takes {bytes} bytes: {}", shown());
    }
}

#[test]
fn mutated_seeds_are_read_or_refused() {
    std::thread::scope(|scope| {
        for (target, iterations) in [
            ("safetensors", 4000),
            ("index", 1500),
            ("rows", 3000),
            ("template", 1500),
            ("tokenizer", 1500),
            ("config", 1500),
            ("model_config", 4000),
            ("descriptor", 4000),
            ("outputs", 20_000),
            ("messages", 20_000),
        ] {
            scope.spawn(move || run(target, iterations));
        }
    });
    let all: Vec<&str> = fuzz::TARGETS.iter().map(|(name, _)| *name).collect();
    assert!(all.iter().all(|name| !seeds(name).is_empty()), "every target has seeds: {all:?}");
}

/// The crate of the fuzz targets is outside of the workspace, since it links libFuzzer; what is in it besides the bodies,
/// which are compiled here, names every target but `tokenizer`.
#[test]
fn the_fuzz_crate_has_every_target() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz"));
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let manifest: toml::Table = read("Cargo.toml").parse().expect("a manifest");
    let bins = manifest["bin"].as_array().expect("the targets");
    let (script, page) = (read("instrument.sh"), read("README.md"));
    let names: Vec<&str> = fuzz::TARGETS.iter().map(|(name, _)| *name).filter(|name| *name != "tokenizer").collect();
    let of = |bin: &toml::Value, key: &str| bin[key].as_str().expect("a text").to_owned();
    assert_eq!(bins.iter().map(|bin| of(bin, "name")).collect::<Vec<_>>(), names);
    for (name, bin) in names.iter().zip(bins) {
        let body = format!("libfuzzer_sys::fuzz_target!(|data: &[u8]| creamery_fuzz::{name}(data));");
        assert!(read(&of(bin, "path")).lines().any(|line| line == body), "{name}");
        let words: Vec<&str> = script.split([' ', '|', ')', '\n']).collect();
        assert!(words.contains(name), "instrument.sh leaves out {name}");
        assert!(page.contains(&format!("| `{name}` |")), "README.md leaves out {name}");
    }
}

#[test]
fn a_line_without_end_is_refused_in_bounded_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.jsonl");
    let mut file = File::create(&path).unwrap();
    file.write_all(b"{\"prompt\": \"ok\"}\n{\"prompt\": \"").unwrap();
    for _ in 0..100 {
        file.write_all(&[b'x'; 1_000_000]).unwrap();
    }
    file.write_all(b"\"}\n").unwrap();
    let (error, bytes) = peak(|| read_prompts(&path).unwrap_err());
    assert!(error.to_string().contains("rows.jsonl:2: the line is longer than 67108864 bytes"), "{error}");
    assert!(bytes < 256 * MB, "{bytes}");
}

#[test]
fn small_text_does_not_become_a_large_value() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.jsonl");
    let mut line = b"{\"prompt\": \"ok\", \"other\": [".to_vec();
    line.resize(line.len() + 40_000_000, b'0');
    for i in (28..line.len()).step_by(2) {
        line[i] = b',';
    }
    line.extend(b"0]}");
    fs::write(&path, line).unwrap();
    let (error, bytes) = peak(|| read_prompts(&path).unwrap_err());
    assert!(error.to_string().contains("rows.jsonl:1: not a JSON object: more than 4194304 values"), "{error}");
    assert!(bytes < 1024 * MB, "{bytes}");
}

#[test]
fn a_header_is_not_larger_than_its_tensors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let header =
        [b"{\"a\":{\"dtype\":\"F32\",\"shape\":[", "1,".repeat(8_000_000).as_bytes(), b"1],\"data_offsets\":[0,4]}}"]
            .concat();
    let mut file = File::create(&path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(&header).unwrap();
    file.write_all(&[0; 4]).unwrap();
    let (error, bytes) = peak(|| Weights::open(path.clone()).err().unwrap());
    assert!(error.to_string().contains("'shape' of tensor 'a': more than 8 numbers"), "{error}");
    assert!(bytes < 32 * MB, "{bytes}");
}

#[test]
fn files_of_absurd_size_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    // Sparse files: they take no room.
    let make = |name: &str, length: u64| File::create(folder.path().join(name)).unwrap().set_len(length).unwrap();
    make("tokenizer.json", 1 << 40);
    make("config.json", 1 << 40);
    let (error, bytes) = peak(|| Tokenizer::load(folder.path()).err().unwrap());
    assert!(error.to_string().contains("tokenizer.json: the file has 1099511627776 bytes"), "{error}");
    assert!(bytes < MB);
    let (error, bytes) = peak(|| ModelConfig::load(folder.path()).err().unwrap());
    assert!(error.to_string().contains("config.json: the file has 1099511627776 bytes"), "{error}");
    assert!(bytes < MB);
    for (name, expected) in [("empty", "truncated: 0 bytes"), ("folder", "this is a folder"), ("none", "cannot read")] {
        let path = folder.path().join(name);
        match name {
            "empty" => fs::write(&path, "").unwrap(),
            "folder" => fs::create_dir(&path).unwrap(),
            _ => {}
        }
        let error = Weights::open(path).err().unwrap().to_string();
        assert!(error.contains(expected) && error.contains(name), "{error}");
    }
}
