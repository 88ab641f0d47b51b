//! Log records as JSON lines: time, level, target, message, and the key-values of the record in `fields`.

use log::Record;
use log::kv::{Error, Key, Value, VisitSource, VisitValue};
use serde_json::{Map, Value as Json, json};

use crate::json;

/// Returns the line of a record. `time` is its time as in RFC 3339.
pub(crate) fn line(record: &Record<'_>, time: &str) -> String {
    let mut fields = Fields(Map::new());
    // No visitor of ours fails.
    let _ = record.key_values().visit(&mut fields);
    json::to_line(&json!({
        "time": time,
        "level": record.level().as_str().to_ascii_lowercase(),
        "target": record.target(),
        "message": record.args().to_string(),
        "fields": fields.0,
    }))
}

struct Fields(Map<String, Json>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let mut field = Field(Json::Null);
        value.visit(&mut field)?;
        self.0.insert(key.to_string(), field.0);
        Ok(())
    }
}

/// The value of a field: a number, a truth value, a text, or null for a missing one, such as the status of no answer.
struct Field(Json);

impl VisitValue<'_> for Field {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), Error> {
        self.0 = json!(value.to_string());
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), Error> {
        self.0 = Json::Null;
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), Error> {
        self.0 = json!(value);
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), Error> {
        self.0 = json!(value);
        Ok(())
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), Error> {
        self.0 = json!(value);
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), Error> {
        self.0 = json!(value);
        Ok(())
    }
}
