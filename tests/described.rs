//! `docs/openapi.yaml` as a witness: what it says of an answer, and whether an answer is so.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may fail")]

use serde_json::{Map, Value};

/// The document.
pub(crate) struct Document(Value);

/// A method on a path.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) method: String,
    pub(crate) path: String,
    /// The path with the example of each of its parameters.
    pub(crate) example_path: String,
    /// Names of the parameters of the path.
    pub(crate) parameters: Vec<String>,
    /// The example of the body, where there is one.
    pub(crate) body: Option<Value>,
    responses: Map<String, Value>,
}

impl Document {
    pub(crate) fn read() -> Self {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.yaml");
        let text = std::fs::read_to_string(path).expect("a document");
        Self(serde_yaml::from_str(&text).expect("YAML"))
    }

    pub(crate) const fn value(&self) -> &Value {
        &self.0
    }

    /// Every operation, those that take something away last.
    pub(crate) fn operations(&self) -> Vec<Operation> {
        // What an example takes away must have been looked at before.
        let takes_away = |it: &Operation| it.method == "DELETE";
        let paths = self.0["paths"].as_object().expect("paths");
        let mut out = Vec::new();
        for (path, item) in paths {
            let item = item.as_object().expect("a path");
            let shared = item.get("parameters").cloned().unwrap_or_else(|| Value::Array(vec![]));
            for (method, operation) in item.iter().filter(|(key, _)| *key != "parameters") {
                let own = operation.get("parameters").cloned();
                let own = own.unwrap_or_else(|| Value::Array(vec![]));
                let all = [shared.clone(), own];
                let mut example_path = path.clone();
                let mut parameters = Vec::new();
                for one in all.iter().flat_map(|list| list.as_array().expect("a list")) {
                    let one = self.resolved(one);
                    if one["in"] == "path" {
                        let name = one["name"].as_str().expect("a name");
                        let example = one["example"].as_str().expect("an example");
                        example_path = example_path.replace(&format!("{{{name}}}"), example);
                        parameters.push(name.to_owned());
                    }
                }
                let body = operation.get("requestBody").map(|body| {
                    self.resolved(body)["content"]["application/json"]["example"].clone()
                });
                let responses = operation["responses"].as_object().expect("responses").clone();
                out.push(Operation {
                    method: method.to_uppercase(),
                    path: path.clone(),
                    example_path,
                    parameters,
                    body,
                    responses,
                });
            }
        }
        out.sort_by_key(takes_away);
        out
    }

    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value.get("$ref").and_then(Value::as_str) {
            None => value,
            Some(pointer) => {
                let pointer = pointer.strip_prefix('#').expect("inside");
                self.0.pointer(pointer).unwrap_or_else(|| panic!("{pointer} leads nowhere"))
            }
        }
    }

    /// What is wrong with an answer to an operation; nothing if it is as described.
    pub(crate) fn faults(
        &self,
        operation: &Operation,
        (status, media_type, body): (u16, &str, &str),
    ) -> Vec<String> {
        let Some(response) = operation.responses.get(&status.to_string()) else {
            return vec![format!("{status} is not described: {body}")];
        };
        let content = self.resolved(response)["content"].as_object().cloned().unwrap_or_default();
        let plain = media_type.split(';').next().unwrap_or_default();
        let Some(described) = content.get(plain) else {
            return vec![format!("{status} as {media_type} is not described")];
        };
        if plain != "application/json" {
            return Vec::new();
        }
        match serde_json::from_str(body) {
            Ok(value) => self.unlike(&described["schema"], &value, "the body"),
            Err(fault) => vec![format!("{status}: no JSON: {fault}: {body}")],
        }
    }

    /// Where a value is not as its schema has it.
    fn unlike(&self, schema: &Value, value: &Value, at: &str) -> Vec<String> {
        let schema = self.resolved(schema);
        let mut out = Vec::new();
        let list = |key: &str| schema.get(key).and_then(Value::as_array).cloned();
        for part in list("allOf").unwrap_or_default() {
            out.extend(self.unlike(&part, value, at));
        }
        if let Some(choices) = list("oneOf") {
            let fits = choices.iter().filter(|it| self.unlike(it, value, at).is_empty()).count();
            if fits != 1 {
                out.push(format!("{at} is {fits} of the choices: {value}"));
            }
        }
        if let Some(choices) = list("enum")
            && !choices.contains(value)
        {
            out.push(format!("{at} is none of {choices:?}: {value}"));
        }
        let types = match schema.get("type") {
            None => Vec::new(),
            Some(Value::Array(types)) => types.clone(),
            Some(one) => vec![one.clone()],
        };
        if !types.is_empty() && !types.iter().any(|it| is(it.as_str().expect("a type"), value)) {
            out.push(format!("{at} is no {types:?}: {value}"));
        }
        for key in list("required").unwrap_or_default() {
            let key = key.as_str().expect("a key");
            if value.get(key).is_none() {
                out.push(format!("{at} has no `{key}`: {value}"));
            }
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        for (key, inside) in value.as_object().into_iter().flatten() {
            let at = format!("{at}.{key}");
            match (properties.and_then(|known| known.get(key)), schema.get("additionalProperties"))
            {
                (Some(schema), _) => out.extend(self.unlike(schema, inside, &at)),
                (None, Some(Value::Bool(false))) => out.push(format!("{at} is not described")),
                (None, Some(schema)) if schema.is_object() => {
                    out.extend(self.unlike(schema, inside, &at));
                }
                _ => {}
            }
        }
        if let (Some(schema), Some(items)) = (schema.get("items"), value.as_array()) {
            for (index, item) in items.iter().enumerate() {
                out.extend(self.unlike(schema, item, &format!("{at}[{index}]")));
            }
        }
        out
    }
}

fn is(name: &str, value: &Value) -> bool {
    match name {
        "array" => value.is_array(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "null" => value.is_null(),
        "object" => value.is_object(),
        "string" => value.is_string(),
        other => panic!("{other} is no type"),
    }
}
