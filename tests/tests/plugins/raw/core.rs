//! Components around core modules written by hand, as no compiler makes them.
//!
//! The component is that of a plugin in `tests/hostile`, types and all, with another module in the place of its own. A
//! module is text; all of it works but for the parts that a test replaces. Memory: from 256 on 128 zeros, from 400 on
//! two pairs, from 512 on a good answer for each function, from 1024 on room for a test, from 8192 on what
//! `cabi_realloc` gives.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use creamery::plugins::{Artifact, Kind};

use super::built;

/// Where a test may put what it likes.
pub const ROOM: u32 = 1024;

/// A bump allocator that grows the memory as it needs.
const REALLOC: &str = "(local.set $at (i32.and
        (i32.add (global.get $top) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
    (global.set $top (i32.add (local.get $at) (local.get $size)))
    (if (i32.gt_u (global.get $top) (i32.mul (memory.size) (i32.const 65536)))
        (then (drop (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1))))))
    (local.get $at)";

/// A function of the contract as the core module exports it.
struct Function {
    interface: &'static str,
    name: &'static str,
    params: &'static str,
    /// What it gives, in words: see the WIT for the fields.
    good: &'static [u32],
    /// Where the pointer and the length of a list of 32-bit numbers are, which the host passes on unread.
    list: &'static str,
}

const fn function(
    interface: &'static str,
    name: &'static str,
    params: &'static str,
    good: &'static [u32],
    list: &'static str,
) -> Function {
    Function { interface, name, params, good, list }
}

const LIST_AT_20: &str = "(i32.load offset=20 (local.get 0)) (i32.load offset=24 (local.get 0))";
const LIST_AT_32: &str = "(i32.load offset=32 (local.get 0)) (i32.load offset=36 (local.get 0))";
const LIST_AT_36: &str = "(i32.load offset=36 (local.get 0)) (i32.load offset=40 (local.get 0))";
const LIST_AT_40: &str = "(i32.load offset=40 (local.get 0)) (i32.load offset=44 (local.get 0))";

/// Two groups of two responses are scored 0 each, and paired.
const JUDGE: &[Function] = &[
    function("judge", "configure", "i32 i32", &[0], ""),
    function("judge", "step", "i32", &[0, 1, 256, 4], LIST_AT_36),
    function("judge-report", "make-report", "i32", &[0; 5], LIST_AT_36),
];
const RANKER: &[Function] = &[
    function("ranker", "configure", "i32 i32", &[0], ""),
    function(
        "ranker",
        "rank",
        "i32 i64 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32",
        &[0, 256, 4, 400, 2, 0, 0],
        "(local.get 6) (local.get 7)",
    ),
    function("ranker-sources", "rank-sources", "i32", &[0, 256, 4, 400, 2, 0, 0], LIST_AT_32),
    function(
        "ranker-numbers",
        "rank-numbers",
        "i32 i64 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32",
        &[0, 1, 256, 4, 400, 2, 0, 0],
        // Behind the offsets of two groups.
        "(i32.add (local.get 2) (i32.const 12)) (i32.sub (local.get 3) (i32.const 3))",
    ),
];
const REGULARIZER: &[Function] = &[
    function("regularizer", "configure", "i32 i32", &[0], ""),
    function("regularizer", "label", "i32", &[0, 256, 2, 256, 2, 0, 0, 0, 0], LIST_AT_20),
    function("regularizer", "objective", "i32", &[0, 256, 1, 256, 1, 256, 1], LIST_AT_40),
    function("regularizer-columns", "columns", "i32", &[0; 3], LIST_AT_20),
    function("regularizer-columns", "objective-columns", "i32", &[0, 256, 1, 256, 1, 256, 1], LIST_AT_40),
];

/// A plugin whose module a test writes in part.
#[derive(Clone)]
pub struct Core {
    pub kind: Kind,
    pub described: Kind,
    memory: String,
    realloc: String,
    bodies: BTreeMap<&'static str, String>,
    cleanups: BTreeMap<&'static str, String>,
    data: String,
    more: String,
    renamed: Vec<(&'static str, &'static str)>,
}

impl Core {
    /// One that does all that it must.
    pub fn new(kind: Kind) -> Self {
        Core {
            kind,
            described: kind,
            memory: "1".to_owned(),
            realloc: REALLOC.to_owned(),
            bodies: BTreeMap::new(),
            cleanups: BTreeMap::new(),
            data: String::new(),
            more: String::new(),
            renamed: Vec::new(),
        }
    }

    /// What the descriptor says, which is not what the component is.
    pub fn described(self, described: Kind) -> Self {
        Core { described, ..self }
    }

    /// The limits of the memory, in pages.
    pub fn memory(self, limits: &str) -> Self {
        Core { memory: limits.to_owned(), ..self }
    }

    /// What `cabi_realloc` does first; its parameters are `$old`, `$old_size`, `$align` and `$size`.
    pub fn realloc(self, body: &str) -> Self {
        Core { realloc: format!("{body} {REALLOC}"), ..self }
    }

    /// As [`realloc`](Self::realloc), but only where lists are wanted, so that `configure` succeeds.
    pub fn realloc_of_lists(self, body: &str) -> Self {
        self.realloc(&format!("(if (i32.gt_u (local.get $align) (i32.const 1)) (then {body}))"))
    }

    /// The body of `function`, without what it gives: that is good.
    pub fn first(self, function: &'static str, body: &str) -> Self {
        let good = format!("{body} (i32.const {})", self.answer_at(function));
        self.body(function, &good)
    }

    /// The body of `function`, which leaves the address of an answer.
    pub fn body(mut self, function: &'static str, body: &str) -> Self {
        self.answer_at(function);
        self.bodies.insert(function, body.to_owned());
        self
    }

    /// `function` gives these words.
    pub fn answer(self, function: &'static str, words: &[u32]) -> Self {
        self.body(function, &format!("(i32.const {ROOM})")).data(ROOM, words)
    }

    /// What runs after the host has read the answer of `function`.
    pub fn cleanup(mut self, function: &'static str, body: &str) -> Self {
        self.answer_at(function);
        self.cleanups.insert(function, body.to_owned());
        self
    }

    /// What lies in memory at `address`.
    pub fn data(mut self, address: u32, words: &[u32]) -> Self {
        self.data.push_str(&data(address, words));
        self
    }

    /// Further definitions.
    pub fn more(mut self, text: &str) -> Self {
        self.more.push_str(text);
        self
    }

    /// Another contract than the host's: what is called `from` there is called `to`.
    pub fn renamed(mut self, from: &'static str, to: &'static str) -> Self {
        assert_eq!(from.len(), to.len());
        self.renamed.push((from, to));
        self
    }

    /// Every function but `configure` gives as its answer the words of a list that the host passes on.
    pub fn echo(kind: Kind) -> Self {
        let mut core = Core::new(kind).more(&format!(
            "(func $echo (param $list i32) (param $length i32) (result i32)
                (memory.copy (i32.const {ROOM}) (local.get $list) (i32.shl (local.get $length) (i32.const 2)))
                (i32.const {ROOM}))"
        ));
        for function in core.functions().iter().skip(1) {
            core = core.body(function.name, &format!("(call $echo {})", function.list));
        }
        core
    }

    /// The names of all its functions.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.functions().iter().map(|function| function.name)
    }

    /// The words of the good answer of `function`.
    pub fn good(&self, function: &str) -> &'static [u32] {
        self.functions().iter().find(|f| f.name == function).expect("a function of the kind").good
    }

    fn functions(&self) -> &'static [Function] {
        match self.kind {
            Kind::Judge => JUDGE,
            Kind::Ranker => RANKER,
            Kind::Regularizer => REGULARIZER,
        }
    }

    fn answer_at(&self, function: &str) -> u32 {
        512 + 64 * self.functions().iter().position(|f| f.name == function).expect("a function of the kind") as u32
    }

    /// The component.
    pub fn build(&self) -> Vec<u8> {
        let host = std::fs::read(built(&format!("hostile-{}", self.kind), Artifact::Component)).unwrap();
        let (start, end) = first_module(&host);
        let (before, after) = (&host[..start], &host[end..]);
        let text = self.text(&names_of_realloc(after));
        let module = wat::parse_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let mut component = [before, &[MODULE], &leb128(module.len()), &module, after].concat();
        for (from, to) in &self.renamed {
            let places: Vec<_> =
                (0..component.len() - from.len()).filter(|i| component[*i..].starts_with(from.as_bytes())).collect();
            assert!(!places.is_empty(), "{from}");
            places.into_iter().for_each(|i| component[i..i + to.len()].copy_from_slice(to.as_bytes()));
        }
        component
    }

    fn text(&self, names_of_realloc: &BTreeSet<String>) -> String {
        let Core { memory, realloc, more, .. } = self;
        let exports: String = names_of_realloc.iter().map(|name| format!("(export \"{name}\")")).collect();
        let mut text = format!(
            "(module
            (@custom \"creamery.plugin\" \"{}\")
            (import \"creamery:plugin/host@1.1.0\" \"log\" (func $log (param i32 i32 i32)))
            (memory (export \"memory\") {memory})
            (global $top (mut i32) (i32.const 8192))
            (func $realloc {exports}
                (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32) (local $at i32)
                {realloc})
            {more}\n",
            escaped(&descriptor(self.described)),
        );
        let one = [0, 0x3ff0_0000];
        text.push_str(&data(400, &[0, 0, 1, 0, one[0], one[1], 1, 2, 3, 0, one[0], one[1]]));
        for Function { interface, name, params, good, .. } in self.functions() {
            let at = self.answer_at(name);
            text.push_str(&data(at, good));
            let body = self.bodies.get(name).cloned().unwrap_or(format!("(i32.const {at})"));
            let cleanup = self.cleanups.get(name).map_or("(global.set $top (i32.const 8192))", String::as_str);
            let export = format!("creamery:plugin/{interface}@1.1.0#{name}");
            writeln!(text, "(func (export \"{export}\") (param {params}) (result i32) {body})").unwrap();
            writeln!(text, "(func (export \"cabi_post_{export}\") (param i32) {cleanup})").unwrap();
        }
        // What a test writes comes last, so that it is what stays.
        text.push_str(&self.data);
        text.push(')');
        text
    }
}

/// A section that is a core module, as components number them.
const MODULE: u8 = 1;

/// Where the first core module of a component begins and ends, with its number and length. It is the plugin's own; those
/// after it only pass calls on.
fn first_module(component: &[u8]) -> (usize, usize) {
    let mut at = 8;
    loop {
        let (start, section) = (at, component[at]);
        at += 1;
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = component[at];
            at += 1;
            length |= usize::from(byte & 127) << shift;
            shift += 7;
            if byte < 128 {
                break;
            }
        }
        at += length;
        if section == MODULE {
            return (start, at);
        }
    }
}

fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 128 {
        bytes.push((number & 127) as u8 | 128);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// Under which names the component looks for what gives it memory.
fn names_of_realloc(component: &[u8]) -> BTreeSet<String> {
    const NAME: &[u8] = b"cabi_realloc";
    let places = (1..component.len() - NAME.len()).filter(|i| component[*i..].starts_with(NAME));
    places.map(|i| String::from_utf8(component[i..][..component[i - 1].into()].to_vec()).unwrap()).collect()
}

/// What a file needs to be a plugin.
fn descriptor(kind: Kind) -> Vec<u8> {
    let json =
        format!(r#"{{"kind":"{kind}","name":"raw","version":"1.0.0","abi":"1.1","params":{{"type":"object"}}}}"#);
    let mut section = creamery_plugin::descriptor::MAGIC.to_vec();
    section.extend((json.len() as u32).to_le_bytes());
    section.extend(json.bytes());
    section
}

/// What lies in memory at `address`, as text of a module.
fn data(address: u32, words: &[u32]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    format!("(data (i32.const {address}) \"{}\")\n", escaped(&bytes))
}

/// Bytes as text of a module.
fn escaped(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "\\{byte:02x}").unwrap();
        text
    })
}
