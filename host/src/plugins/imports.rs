//! What a plugin's file needs of others, read without running it.

use object::read::elf::{ElfFile, FileHeader};
use object::{File, Object, ReadRef};

use crate::error::{Error, Result};

/// What a plugin needs besides itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imports {
    /// A component: the interfaces it imports, which the host offers or refuses, and those it exports.
    Component { imports: Vec<String>, exports: Vec<String> },
    /// A native library: the libraries that are loaded with it, and the symbols it looks for in them.
    Native { libraries: Vec<String>, symbols: usize },
    /// A builtin plugin: nothing.
    None,
}

/// Reads the bytes of a component or native library.
pub fn read(bytes: &[u8]) -> Result<Imports> {
    if bytes.starts_with(b"\0asm") { component(bytes) } else { native(bytes) }
}

fn component(bytes: &[u8]) -> Result<Imports> {
    use wasmparser::Payload;
    let damaged = |e: wasmparser::BinaryReaderError| {
        Error::plugin(format!("the WebAssembly file is truncated or damaged ({e})")).help("copy or build it again")
    };
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    // Modules and components within this one have imports of their own, which it satisfies.
    let mut depth = 0usize;
    for payload in wasmparser::Parser::new(0).parse_all(bytes) {
        match payload.map_err(damaged)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    imports.push(import.map_err(damaged)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    exports.push(export.map_err(damaged)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(Imports::Component { imports, exports })
}

fn native(bytes: &[u8]) -> Result<Imports> {
    let damaged = |e: object::Error| {
        Error::plugin(format!("the shared library is truncated or damaged ({e})")).help("copy or build it again")
    };
    let file = File::parse(bytes).map_err(damaged)?;
    let imports = file.imports().map_err(damaged)?;
    let mut libraries = match &file {
        File::Elf32(elf) => needed(elf).map_err(damaged)?,
        File::Elf64(elf) => needed(elf).map_err(damaged)?,
        // Here each symbol says where it is from.
        _ => imports.iter().map(|i| i.library()).filter(|l| !l.is_empty()).map(text).collect(),
    };
    libraries.sort();
    libraries.dedup();
    Ok(Imports::Native { libraries, symbols: imports.len() })
}

/// The libraries that the dynamic linker loads first.
fn needed<'data, Elf: FileHeader, R: ReadRef<'data>>(elf: &ElfFile<'data, Elf, R>) -> object::Result<Vec<String>> {
    let table = elf.elf_dynamic_table()?;
    let named = table.iter().filter(|entry| entry.tag == object::elf::DT_NEEDED);
    named.map(|entry| table.string(entry).map(text)).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
