//! The JSON Schema of the file, for editors that complete and check TOML.

use schemars::transform::RecursiveTransform;
use schemars::{Schema, generate::SchemaSettings};
use serde_json::Value;

use super::Config;

/// The schema as pretty JSON: descriptions and defaults are those of the types that read the file.
pub fn schema() -> String {
    let settings = SchemaSettings::draft07().with_transform(RecursiveTransform(without_null));
    let mut schema = settings.into_generator().into_root_schema_for::<Config>();
    schema.insert("title".into(), "wsgate's configuration".into());
    format!("{:#}", schema.to_value())
}

/// TOML has no null: a key is there or it is absent. So no type and no default may offer one.
fn without_null(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(branches)) = schema.get_mut("anyOf") {
        branches.retain(|branch| branch.get("type").is_none_or(|kind| kind != "null"));
        if let [Value::Object(only)] = branches.as_slice() {
            let only = only.clone();
            schema.remove("anyOf");
            for (key, value) in only {
                // What the field says of itself stands above what its type says.
                if schema.get(&key).is_none() {
                    schema.insert(key, value);
                }
            }
        }
    }
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_described_and_none_may_be_null() {
        let text = schema();
        assert!(!text.contains("null\""), "{text}");
        let schema: Value = serde_json::from_str(&text).unwrap();
        let mut keys = 0;
        let tables = schema["definitions"].as_object().unwrap().values().chain([&schema]);
        for (name, key) in tables.filter_map(|table| table["properties"].as_object()).flatten() {
            assert!(key["description"].is_string(), "{name} has no description: {key}");
            keys += 1;
        }
        assert!(keys > 60, "{keys}");
        assert_eq!(schema["definitions"]["Route"]["properties"]["idle_timeout"]["default"], "10m");
        assert_eq!(schema["definitions"]["Route"]["properties"]["max_message_size"]["default"], "1m");
    }
}
