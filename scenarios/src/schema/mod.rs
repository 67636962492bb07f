//! JSON Schemas of scenario and lab files (`cscf schema`), so that editors complete keys and words
//! and mark what is wrong while one writes. The readers decide; the schemas are as strict as
//! patterns can be. Numbers and switches may stand unquoted, as YAML reads them.

mod lab;
mod nodes;
mod scenario;
mod sentences;

use serde_json::{Map, Value, json};

use sentences::TIME;

/// The dialect that editors understand best.
const DIALECT: &str = "http://json-schema.org/draft-07/schema#";

/// The schema of a scenario file.
#[must_use]
pub fn scenario() -> Value {
    with_definitions(scenario::document())
}

/// The schema of a lab file.
#[must_use]
pub fn lab() -> Value {
    with_definitions(lab::document())
}

fn with_definitions(mut document: Value) -> Value {
    if let Some(members) = document.as_object_mut() {
        members.insert("$schema".to_owned(), json!(DIALECT));
        members.insert("definitions".to_owned(), definitions());
    }
    document
}

fn definitions() -> Value {
    json!({
        "time": {
            "type": "string",
            "pattern": format!("^ *{TIME} *$"),
            "description": "A time with its unit: ms, s, min or h",
            "examples": ["500ms", "2s", "10min", "1h"],
        },
        "text": {"type": ["string", "number", "boolean"]},
        "number": {"type": ["integer", "string"], "pattern": "^[0-9]+$", "minimum": 0},
        // YAML 1.1 takes both words for booleans.
        "switch": {"enum": ["on", "off", true, false]},
        "names": {
            "anyOf": [{"$ref": "#/definitions/text"}, {"$ref": "#/definitions/texts"}],
        },
        "texts": {"type": "array", "items": {"$ref": "#/definitions/text"}},
        "texts_by_name": {
            "type": "object",
            "additionalProperties": {"$ref": "#/definitions/text"},
        },
        "criteria": lab::criteria(),
        "condition": lab::condition(),
        "node": nodes::node(),
        "subscriber": lab::subscriber(),
        "numbering": lab::numbering(),
        "dns": {
            "type": "object",
            "additionalProperties": {"$ref": "#/definitions/names"},
            "description": "Records by name, e.g. `NAPTR 10 10 s SIP+D2U _sip._udp.ims.example`",
        },
        "conditions": scenario::conditions(),
        "steps": scenario::steps(),
    })
}

/// A mapping: its keys with the schema of each value and what it means, and the keys it needs.
fn mapping(keys: Vec<(&str, Value, &str)>, required: &[&str]) -> Value {
    let mut properties = Map::new();
    for (name, mut value, meaning) in keys {
        if let Some(members) = value.as_object_mut() {
            // Beside a reference nothing else is read.
            if let Some(reference) = members.remove("$ref") {
                members.insert("allOf".to_owned(), json!([{"$ref": reference}]));
            }
            members.insert("description".to_owned(), json!(meaning));
        }
        properties.insert(name.to_owned(), value);
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn defined(name: &str) -> Value {
    json!({"$ref": format!("#/definitions/{name}")})
}

fn time() -> Value {
    defined("time")
}

fn switch() -> Value {
    defined("switch")
}

fn text() -> Value {
    defined("text")
}

fn number() -> Value {
    defined("number")
}

fn names() -> Value {
    defined("names")
}

/// One of these words.
fn choice(words: &[&str]) -> Value {
    json!({"enum": words})
}

/// One of these words, or what the pattern says.
fn choice_or(words: &[&str], pattern: &str, example: &str) -> Value {
    let form = json!({"type": "string", "pattern": pattern, "examples": [example]});
    json!({"anyOf": [choice(words), form]})
}

/// One of these, or a list of them.
fn one_or_many(one: &Value) -> Value {
    json!({"anyOf": [one, {"type": "array", "items": one}]})
}

/// A mapping by names that the file invents.
fn by_name(value: &Value) -> Value {
    json!({"type": "object", "additionalProperties": value})
}

#[cfg(test)]
mod tests;
