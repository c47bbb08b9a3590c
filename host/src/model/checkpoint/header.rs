//! The header of a safetensors file: a JSON object of tensors, checked entry by entry and as a whole.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A tensor of more dimensions is no weight of a language model.
const MAX_RANK: usize = 8;

/// Where a tensor stands in the data that follows the header, in bytes.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub dtype: String,
    pub shape: Vec<usize>,
    pub start: u64,
    pub end: u64,
}

impl Entry {
    pub fn bytes(&self) -> u64 {
        self.end - self.start
    }
}

/// Reads the header of a file with `data` bytes after it. The message of an error names the tensor.
///
/// As the format demands, the tensors fill the data without overlaps and holes, in any order; no name stands twice.
/// Memory is in proportion to the header's tensors, whatever else it holds.
pub(super) fn parse(json: &[u8], data: u64) -> Result<BTreeMap<String, Entry>, String> {
    if json.first() != Some(&b'{') {
        return Err("the header is not a JSON object".to_owned());
    }
    let text = std::str::from_utf8(json)
        .map_err(|e| format!("the header is not valid UTF-8 at byte {}", e.valid_up_to() + 1))?;
    let Header(tensors) = serde_json::from_str(text).map_err(|e| format!("the header is not valid: {e}"))?;
    check_layout(&tensors, data)?;
    Ok(tensors)
}

fn check_layout(tensors: &BTreeMap<String, Entry>, data: u64) -> Result<(), String> {
    let mut order: Vec<(&String, &Entry)> = tensors.iter().collect();
    order.sort_by_key(|(_, e)| (e.start, e.end));
    let mut filled = 0;
    let mut previous = None;
    for (name, entry) in order {
        if entry.end > data {
            return Err(format!(
                "truncated: tensor '{name}' ends at byte {} of the data, of which there are {data}",
                entry.end
            ));
        }
        match (entry.start.cmp(&filled), previous) {
            (std::cmp::Ordering::Less, Some(previous)) => {
                return Err(format!("tensors '{previous}' and '{name}' overlap at byte {} of the data", entry.start));
            }
            (std::cmp::Ordering::Greater, _) => {
                return Err(format!("a hole of {} bytes before tensor '{name}'", entry.start - filled));
            }
            _ => {}
        }
        filled = entry.end;
        previous = Some(name);
    }
    if filled < data {
        return Err(format!("{} bytes after the last tensor belong to none", data - filled));
    }
    Ok(())
}

struct Header(BTreeMap<String, Entry>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut tensors = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let entry = map.next_value_seed(EntryOf(&name))?;
            if tensors.contains_key(&name) {
                return Err(A::Error::custom(format!("tensor '{name}' stands twice in it")));
            }
            tensors.insert(name, entry);
        }
        Ok(Header(tensors))
    }
}

/// Reads the entry of the tensor with this name.
struct EntryOf<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for EntryOf<'_> {
    type Value = Entry;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Entry, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EntryOf<'_> {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with dtype, shape and data_offsets for tensor '{}'", self.0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
        let name = self.0;
        let (mut dtype, mut shape, mut offsets) = (None, None, None);
        let twice = |field: &str| A::Error::custom(format!("tensor '{name}' has two fields '{field}'"));
        let wrong = |field: &str, e: A::Error| A::Error::custom(format!("'{field}' of tensor '{name}': {e}"));
        while let Some(field) = map.next_key::<String>()? {
            let again = match field.as_str() {
                "dtype" => dtype.replace(map.next_value::<String>().map_err(|e| wrong(&field, e))?).is_some(),
                "shape" => shape.replace(map.next_value::<Numbers>().map_err(|e| wrong(&field, e))?.0).is_some(),
                "data_offsets" => {
                    offsets.replace(map.next_value::<Numbers>().map_err(|e| wrong(&field, e))?.0).is_some()
                }
                _ => map.next_value::<IgnoredAny>().map(|_| false)?,
            };
            if again {
                return Err(twice(&field));
            }
        }
        let missing = |field: &str| A::Error::custom(format!("tensor '{name}' has no '{field}'"));
        let dtype = dtype.ok_or_else(|| missing("dtype"))?;
        let shape = shape.ok_or_else(|| missing("shape"))?;
        let offsets = offsets.ok_or_else(|| missing("data_offsets"))?;
        let [start, end] = offsets[..] else {
            return Err(A::Error::custom(format!("tensor '{name}' needs two data_offsets, found {}", offsets.len())));
        };
        if start > end {
            return Err(A::Error::custom(format!("tensor '{name}' starts at byte {start}, after its end {end}")));
        }
        let shape: Result<Vec<usize>, _> = shape.into_iter().map(usize::try_from).collect();
        let shape = shape.map_err(|_| A::Error::custom(format!("tensor '{name}' is too large for this machine")))?;
        Ok(Entry { dtype, shape, start, end })
    }
}

/// A short list of non-negative integers.
struct Numbers(Vec<u64>);

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Numbers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of non-negative integers")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Numbers, A::Error> {
                let mut list = Vec::new();
                while let Some(number) = items.next_element::<u64>()? {
                    if list.len() == MAX_RANK {
                        return Err(A::Error::custom(format!("more than {MAX_RANK} numbers")));
                    }
                    list.push(number);
                }
                Ok(Numbers(list))
            }
        }
        deserializer.deserialize_seq(List)
    }
}
