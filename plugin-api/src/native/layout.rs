//! The layout of everything that crosses to a native library, as text that a test can keep.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use abi_stable::StableAbi;
use abi_stable::type_layout::{TLData, TypeLayout};

use super::objects::{JudgeObject, RankerObject, RegularizerObject};
use super::{LibHeader, PluginModuleRef};

/// A paragraph for each type, by name: size, alignment, and of this crate's own types the fields in order, with the
/// functions that they hold. Where a table may grow, the line says so. The same for every build on 64-bit machines.
pub fn layout() -> String {
    let mut types = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let roots = [PluginModuleRef::LAYOUT, JudgeObject::LAYOUT, RankerObject::LAYOUT, RegularizerObject::LAYOUT];
    for root in roots {
        add(root, &mut types, &mut seen);
    }
    let mut text = format!("LibHeader: {} bytes\n", size_of::<LibHeader>());
    for paragraph in types.values() {
        text.push('\n');
        text.push_str(paragraph);
    }
    text
}

fn add(layout: &'static TypeLayout, types: &mut BTreeMap<String, String>, seen: &mut BTreeSet<String>) {
    let name = layout.full_type().to_string();
    // Generic types are the same type for the walk if they are written alike and of one size.
    if !seen.insert(format!("{name} {} {}", layout.size(), layout.alignment())) {
        return;
    }
    let mut text = format!("{name}: {} bytes, aligned to {}\n", layout.size(), layout.alignment());
    let grows = match layout.data() {
        TLData::PrefixType(prefix) => Some(usize::from(prefix.first_suffix_field)),
        _ => None,
    };
    let own = layout.package().as_str() == "creamery-plugin";
    let fields = layout.get_fields().into_iter().flat_map(|fields| fields.iter()).collect::<Vec<_>>();
    for (i, field) in fields.iter().enumerate() {
        if own {
            if grows == Some(i) {
                text.push_str("  (what follows may be missing in older plugins)\n");
            }
            let _ = write!(text, "  {}: ", field.name());
            let functions: Vec<String> = field.function_range().iter().map(|f| one_line(&f.to_string())).collect();
            match functions.is_empty() {
                true => text.push_str(&field.full_type().to_string()),
                false => text.push_str(&functions.join(" ")),
            }
            text.push('\n');
        }
        add(field.layout(), types, seen);
    }
    for field in layout.phantom_fields().iter() {
        add(field.layout(), types, seen);
    }
    for function in fields.iter().flat_map(|f| f.function_range().iter().collect::<Vec<_>>()) {
        for parameter in function.param_type_layouts.iter() {
            add(parameter(), types, seen);
        }
        if let Some(result) = function.return_type_layout() {
            add(result(), types, seen);
        }
    }
    types.insert(format!("{name} {} {}", layout.size(), layout.alignment()), text);
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
