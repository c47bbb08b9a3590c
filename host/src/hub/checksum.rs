//! What an etag of the hub says about a file's bytes.

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

/// The sum of bytes as they come.
pub(super) struct Checksum {
    context: Option<Context>,
    expected: String,
    kind: &'static str,
}

impl Checksum {
    /// For a file of `size` bytes: an etag of 64 hexadecimal digits is its SHA-256 (files in large storage), one of 40
    /// is git's name of it, the SHA-1 of a header and the bytes. Another etag, as mirrors have them, says nothing.
    pub(super) fn new(etag: &str, size: u64) -> Checksum {
        let hex = |length| etag.len() == length && etag.bytes().all(|b| b.is_ascii_hexdigit());
        let (context, kind) = match (hex(64), hex(40)) {
            (true, _) => (Some(Context::new(&SHA256)), "SHA-256"),
            (_, true) => {
                let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
                context.update(format!("blob {size}\0").as_bytes());
                (Some(context), "git's SHA-1")
            }
            _ => (None, ""),
        };
        Checksum { context, expected: etag.to_ascii_lowercase(), kind }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        if let Some(context) = &mut self.context {
            context.update(bytes);
        }
    }

    /// What is wrong, if something is.
    pub(super) fn finish(self) -> Result<(), String> {
        let Some(context) = self.context else { return Ok(()) };
        let found: String = context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        match found == self.expected {
            true => Ok(()),
            false => Err(format!("{} is {found}, the hub says {}", self.kind, self.expected)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Checksum;

    #[test]
    fn sums_of_known_files() {
        let cases: [(&[u8], &str, bool); 6] = [
            // git hash-object of an empty file and of "hello\n"
            (b"", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", true),
            (b"hello\n", "ce013625030ba8dba906f756967f9e9ca394464a", true),
            (b"hello", "ce013625030ba8dba906f756967f9e9ca394464a", false),
            (b"abc", "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD", true),
            (b"abd", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", false),
            (b"abc", "some-mirror-etag", true),
        ];
        for (bytes, etag, right) in cases {
            let mut sum = Checksum::new(etag, bytes.len() as u64);
            bytes.chunks(2).for_each(|chunk| sum.update(chunk));
            assert_eq!(sum.finish().is_ok(), right, "{etag}");
        }
    }
}
