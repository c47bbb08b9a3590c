//! The layout of everything that crosses to a native library, as text that a test can keep.

use std::fmt::Write;

use abi_stable::StableAbi;
use abi_stable::type_layout::{TLData, TypeLayout};

use super::objects::{JudgeObject, RankerObject, RegularizerObject};
use super::{LibHeader, PluginModuleRef};

/// A tree from the exported table and the objects down to numbers: name, size and alignment of each type, its fields in
/// order, the functions that they hold with their parameters. Where a table may grow, a line says so. Each type has a
/// number, and its parts where it comes first. The same for every build on 64-bit machines.
pub fn layout() -> String {
    let mut tree = Tree { text: format!("LibHeader: {} bytes\n", size_of::<LibHeader>()), seen: Vec::new() };
    for root in [PluginModuleRef::LAYOUT, JudgeObject::LAYOUT, RankerObject::LAYOUT, RegularizerObject::LAYOUT] {
        tree.text.push('\n');
        tree.add(root, "", 0);
    }
    tree.text
}

struct Tree {
    text: String,
    seen: Vec<&'static TypeLayout>,
}

impl Tree {
    /// A type, as the value of `name`.
    fn add(&mut self, layout: &'static TypeLayout, name: &str, depth: usize) {
        let (size, alignment) = (layout.size(), layout.alignment());
        let full = layout.full_type().to_string();
        let full = full.split_whitespace().collect::<Vec<_>>().join(" ");
        let known = self.seen.iter().position(|seen| seen.get_utypeid() == layout.get_utypeid());
        let number = known.unwrap_or(self.seen.len());
        self.line(depth, &format!("{name}{full} #{number}, {size} bytes, aligned to {alignment}"));
        if known.is_some() {
            return;
        }
        self.seen.push(layout);
        let grows = match layout.data() {
            TLData::PrefixType(prefix) => Some(usize::from(prefix.first_suffix_field)),
            _ => None,
        };
        for (i, field) in layout.get_fields().into_iter().flat_map(|fields| fields.iter()).enumerate() {
            if grows == Some(i) {
                self.line(depth + 1, "(what follows may be missing in older plugins)");
            }
            self.add(field.layout(), &format!("{}: ", field.name()), depth + 1);
            for function in field.function_range().iter() {
                for parameter in function.param_type_layouts.iter() {
                    self.add(parameter(), "parameter: ", depth + 2);
                }
                if let Some(result) = function.return_type_layout() {
                    self.add(result(), "result: ", depth + 2);
                }
            }
        }
        for field in layout.phantom_fields().iter() {
            self.add(field.layout(), &format!("of {}: ", field.name()), depth + 1);
        }
    }

    fn line(&mut self, depth: usize, text: &str) {
        let _ = writeln!(self.text, "{:1$}{text}", "", 2 * depth);
    }
}
