//! What a plugin says about itself, readable from its file without running it.
//!
//! A JSON object behind a fixed header, built at compile time:
//! 16 bytes [`MAGIC`], the length of the JSON as a little-endian `u32`, the JSON in UTF-8.
//! In a component it is the custom section [`WASM_SECTION`] of its core module; in a native library it is
//! the section [`ELF_SECTION`], [`MACHO_SECTION`] or [`PE_SECTION`].

pub const MAGIC: [u8; 16] = *b"CREAMERY-PLUGIN\0";
/// The length of [`MAGIC`] and of the length that follows it.
pub const HEADER: usize = MAGIC.len() + 4;

pub const WASM_SECTION: &str = "creamery.plugin";
pub const ELF_SECTION: &str = ".creamery.plugin";
pub const MACHO_SECTION: &str = "__creamery";
pub const PE_SECTION: &str = ".creamry";

/// The fields of a descriptor, before encoding.
pub struct Fields<'a> {
    /// "judge", "ranker" or "regularizer".
    pub kind: &'a str,
    pub name: &'a str,
    pub version: &'a str,
    pub summary: &'a str,
    /// What the plugin offers. Hosts ignore names that they do not know.
    pub features: &'a [&'a str],
    /// What the plugin needs of the host. Hosts refuse names that they do not know.
    pub requires: &'a [&'a str],
    /// Names, as in Cargo.toml's `authors`, separated by ':'. Left out where empty, as are the next two.
    pub authors: &'a str,
    pub license: &'a str,
    pub repository: &'a str,
    /// A JSON Schema of the parameters, itself JSON.
    pub params: &'a str,
    /// "unwind", or "abort" if a panic would end the host.
    pub panic: &'a str,
}

/// The number of bytes that [`encode`] needs.
pub const fn size(fields: &Fields) -> usize {
    write::<0>(fields).length
}

/// Header and JSON. `N` is [`size`].
pub const fn encode<const N: usize>(fields: &Fields) -> [u8; N] {
    let mut out = write::<N>(fields);
    let json = (N - HEADER) as u32;
    let length = json.to_le_bytes();
    let mut i = 0;
    while i < MAGIC.len() {
        out.bytes[i] = MAGIC[i];
        i += 1;
    }
    i = 0;
    while i < length.len() {
        out.bytes[MAGIC.len() + i] = length[i];
        i += 1;
    }
    out.bytes
}

const fn write<const N: usize>(fields: &Fields) -> Out<N> {
    let mut out = Out { bytes: [0; N], length: HEADER };
    out.raw("{\"kind\":");
    out.string(fields.kind);
    out.raw(",\"name\":");
    out.string(fields.name);
    out.raw(",\"version\":");
    out.string(fields.version);
    out.raw(",\"abi\":");
    out.string(crate::ABI);
    out.raw(",\"api\":");
    out.string(crate::API_VERSION);
    out.raw(",\"panic\":");
    out.string(fields.panic);
    out.raw(",\"summary\":");
    out.string(fields.summary);
    out.optional(",\"authors\":", fields.authors);
    out.optional(",\"license\":", fields.license);
    out.optional(",\"repository\":", fields.repository);
    out.raw(",\"features\":");
    out.strings(fields.features);
    out.raw(",\"requires\":");
    out.strings(fields.requires);
    out.raw(",\"params\":");
    out.raw(fields.params);
    out.raw("}");
    out
}

/// A buffer that counts what it cannot hold, so that the same code measures and writes.
struct Out<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Out<N> {
    const fn byte(&mut self, byte: u8) {
        if self.length < N {
            self.bytes[self.length] = byte;
        }
        self.length += 1;
    }

    const fn raw(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut i = 0;
        while i < bytes.len() {
            self.byte(bytes[i]);
            i += 1;
        }
    }

    /// A JSON string.
    const fn string(&mut self, text: &str) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let bytes = text.as_bytes();
        self.byte(b'"');
        let mut i = 0;
        while i < bytes.len() {
            let b = bytes[i];
            if b == b'"' || b == b'\\' {
                self.byte(b'\\');
                self.byte(b);
            } else if b < 0x20 {
                self.raw("\\u00");
                self.byte(HEX[(b >> 4) as usize]);
                self.byte(HEX[(b & 15) as usize]);
            } else {
                self.byte(b);
            }
            i += 1;
        }
        self.byte(b'"');
    }

    /// A field, if it has a value.
    const fn optional(&mut self, key: &str, text: &str) {
        if !text.is_empty() {
            self.raw(key);
            self.string(text);
        }
    }

    const fn strings(&mut self, texts: &[&str]) {
        self.byte(b'[');
        let mut i = 0;
        while i < texts.len() {
            if i > 0 {
                self.byte(b',');
            }
            self.string(texts[i]);
            i += 1;
        }
        self.byte(b']');
    }
}
