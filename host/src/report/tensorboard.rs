//! TensorBoard event files: scalars by step, as TFRecords of protocol buffers.
//!
//! A record is its length, a masked CRC-32C of the length, the bytes, and their masked CRC-32C. The bytes are an
//! `Event`: field 1 the wall time, 2 the step, 3 the file's version (first event only), 5 a `Summary`, whose field 1
//! is repeated: field 1 a tag and 2 a float. Wall times are for people; nothing that is hashed holds an event file.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};

/// Writes one event file.
pub struct EventWriter {
    file: BufWriter<File>,
    path: std::path::PathBuf,
}

impl EventWriter {
    /// Starts the only event file of `folder`: those of an earlier start go, since their steps are written again.
    pub fn create(folder: &Path) -> Result<Self> {
        let failed = |e: std::io::Error| Error::io("write", folder, &e);
        fs::create_dir_all(folder).map_err(failed)?;
        for entry in fs::read_dir(folder).map_err(failed)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with("events.out.tfevents.") {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        let now = wall_time();
        let path = folder.join(format!("events.out.tfevents.{:010}.creamery.{}.0", now as u64, std::process::id()));
        let file = BufWriter::new(File::create(&path).map_err(|e| Error::io("write", &path, &e))?);
        let mut writer = EventWriter { file, path };
        let mut version = Vec::new();
        bytes_field(&mut version, 3, b"brain.Event:2");
        writer.event(now, 0, &version)?;
        Ok(writer)
    }

    /// One point in each of the named curves. Values are kept as single precision, as TensorBoard does.
    pub fn scalars<'a>(&mut self, step: usize, values: impl IntoIterator<Item = (&'a str, f64)>) -> Result<()> {
        let mut summary = Vec::new();
        for (tag, value) in values {
            let mut one = Vec::new();
            bytes_field(&mut one, 1, tag.as_bytes());
            varint(&mut one, 2 << 3 | 5);
            one.extend((value as f32).to_le_bytes());
            bytes_field(&mut summary, 1, &one);
        }
        let mut what = Vec::new();
        bytes_field(&mut what, 5, &summary);
        self.event(wall_time(), step as u64, &what)
    }

    fn event(&mut self, wall_time: f64, step: u64, what: &[u8]) -> Result<()> {
        let mut event = Vec::new();
        varint(&mut event, 1 << 3 | 1);
        event.extend(wall_time.to_le_bytes());
        varint(&mut event, 2 << 3);
        varint(&mut event, step);
        event.extend(what);
        let length = (event.len() as u64).to_le_bytes();
        let record = [&length[..], &masked_crc(&length), &event, &masked_crc(&event)].concat();
        // Flushed at once, for who watches.
        let written = self.file.write_all(&record).and_then(|()| self.file.flush());
        written.map_err(|e| Error::io("write", &self.path, &e))
    }
}

fn wall_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

fn varint(to: &mut Vec<u8>, mut x: u64) {
    while x >= 0x80 {
        to.push(x as u8 | 0x80);
        x >>= 7;
    }
    to.push(x as u8);
}

/// A field of the wire type 2: bytes with their length.
fn bytes_field(to: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    varint(to, number << 3 | 2);
    varint(to, bytes.len() as u64);
    to.extend(bytes);
}

/// TensorFlow's mask: the sum of a sum should not be the sum itself.
fn masked_crc(bytes: &[u8]) -> [u8; 4] {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// Castagnoli's polynomial, bit by bit: event files are small.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_equal_the_published_ones() {
        // RFC 3720, B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn events_are_records_of_protocol_buffers() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(folder.path()).unwrap();
        writer.scalars(300, [("train/loss", 0.5)]).unwrap();
        let mut writer = EventWriter::create(folder.path()).unwrap();
        writer.scalars(300, [("train/loss", 0.5)]).unwrap();
        let files: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(files.len(), 1);
        let bytes = fs::read(files[0].as_ref().unwrap().path()).unwrap();
        let mut records = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            assert_eq!(rest[8..12], masked_crc(&rest[..8]));
            let data = &rest[12..12 + length];
            assert_eq!(rest[12 + length..16 + length], masked_crc(data));
            records.push(data);
            rest = &rest[16 + length..];
        }
        let [version, loss] = records[..] else { panic!("{records:?}") };
        // Behind tag and wall time (9 bytes): the step, then the content.
        assert_eq!(&version[9..], b"\x10\x00\x1a\x0dbrain.Event:2");
        assert_eq!(&loss[9..], b"\x10\xac\x02\x2a\x13\x0a\x11\x0a\x0atrain/loss\x15\x00\x00\x00\x3f");
    }
}
