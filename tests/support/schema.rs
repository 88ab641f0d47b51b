//! The JSON Schema of all lines, closed: a field that it does not name fails a test.

use std::sync::OnceLock;

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value, json};

static SCHEMA: OnceLock<(Schemas, SchemaIndex)> = OnceLock::new();

/// Asserts that the schema describes the value, with each of its fields.
#[track_caller]
pub(crate) fn assert_described(line: &Value) {
    if let Some(problem) = problem(line) {
        panic!("{problem}\n{line:#}");
    }
}

/// Returns why the schema does not describe the value.
pub(crate) fn problem(line: &Value) -> Option<String> {
    let (schemas, index) = SCHEMA.get_or_init(compiled);
    schemas.validate(line, *index).err().map(|error| format!("{error:#}"))
}

fn compiled() -> (Schemas, SchemaIndex) {
    let mut schema: Value = serde_json::from_str(include_str!("../../docs/json-schema.json")).unwrap();
    close(&mut schema);
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.add_resource("lines.json", schema).unwrap();
    let index = compiler.compile("lines.json", &mut schemas).unwrap_or_else(|error| panic!("{error:#}"));
    (schemas, index)
}

/// Forbids other fields in each object. Published, the schema allows them, because fields may be added.
fn close(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(close),
        Value::Object(fields) => {
            fields.values_mut().for_each(close);
            if fields.get("properties").is_some_and(Value::is_object) && fields.contains_key("required") {
                fields.entry("additionalProperties").or_insert(json!(false));
            }
        }
        _ => {}
    }
}
