//! Names that a JSON document has twice in one object. Parsers differ in which value they take, so neither is believed.

use std::collections::HashSet;
use std::fmt;

use serde_core::Deserializer;
use serde_core::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};

/// Whether an object of the document has a name twice.
pub(super) fn are_in(document: &[u8]) -> bool {
    Duplicates.deserialize(&mut serde_json::Deserializer::from_slice(document)).unwrap_or(false)
}

/// Reads a value. The result is whether it has duplicates.
#[derive(Clone, Copy)]
struct Duplicates;

impl<'de> DeserializeSeed<'de> for Duplicates {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Duplicates {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_str<E>(self, _: &str) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<bool, A::Error> {
        let mut found = false;
        while let Some(inner) = elements.next_element_seed(self)? {
            found |= inner;
        }
        Ok(found)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<bool, A::Error> {
        let (mut names, mut found) = (HashSet::new(), false);
        while let Some(name) = members.next_key::<String>()? {
            found |= !names.insert(name) | members.next_value_seed(self)?;
        }
        Ok(found)
    }
}
