//! What `cscf ctl` does that is more than an order: health, metrics, the trace as it grows, and
//! subscribers with options in place of an entry.

use std::process::ExitCode;

use cscf_core::config::read_entry;
use cscf_core::host::control::Reply;
use cscf_core::host::json::from_json;
use cscf_core::host::program::{EXIT_FAILED, EXIT_OK};
use cscf_core::trace::TraceEvent;
use hyper::Method;
use serde_json::{Map, Value, json};

use super::ctl::drawn;
use super::term;
use crate::control::client::{Client, encoded, told};
use crate::report::ladder::{Growing, Style};
use crate::report::order::InOrder;
use crate::report::pcapng::Names;
use cscf_core::operator::Table;

/// What the words of `cscf ctl` mean here; `None` if they are an order.
pub(super) fn obey(client: &Client, words: &[&str], json: bool) -> Option<ExitCode> {
    let result = match words {
        ["health"] => health(client, "/health", json),
        ["health", node] => health(client, &format!("/nodes/{}/health", encoded(node)), json),
        ["metrics"] if !json => client.text("/metrics").map(|text| term::print(&text)),
        ["metrics", node] => {
            let text = client.text(&format!("/nodes/{}/metrics", encoded(node)));
            text.map(|text| term::print(&text))
        }
        ["trace", rest @ ..] => trace_path(rest).and_then(|path| trace(client, &path, json)),
        ["subscriber", "show", name] => {
            let asked = client.ask(&Method::GET, &format!("/subscribers/{}", encoded(name)), None);
            asked.map(|reply| printed(&reply))
        }
        ["subscriber", what @ ("add" | "change"), name, rest @ ..] if !rest.is_empty() => {
            subscriber(client, what, name, rest)
        }
        _ => return None,
    };
    Some(result.unwrap_or_else(|fault| term::could_not_run(&fault)))
}

/// An answer as JSON; what is wrong as an error.
fn printed(reply: &Reply) -> ExitCode {
    if reply.status >= 400 {
        return refused(reply);
    }
    term::print(&(serde_json::to_string_pretty(&reply.body).unwrap_or_default() + "\n"))
}

fn refused(reply: &Reply) -> ExitCode {
    let text = told(&reply.body.to_string());
    match reply.status {
        409 => {
            term::error(&text);
            ExitCode::from(EXIT_FAILED)
        }
        _ => term::could_not_run(&text),
    }
}

fn health(client: &Client, path: &str, as_json: bool) -> Result<ExitCode, String> {
    let reply = client.ask(&Method::GET, path, None)?;
    if reply.body.get("error").is_some() {
        return Ok(refused(&reply));
    }
    let code = if reply.status == 200 { EXIT_OK } else { EXIT_FAILED };
    if as_json {
        term::out(&(serde_json::to_string_pretty(&reply.body).unwrap_or_default() + "\n"));
    } else {
        term::out(&drawn(&health_table(&reply.body)));
    }
    Ok(ExitCode::from(code))
}

fn health_table(body: &Value) -> Table {
    let mut table = Table::new(&["node", "role", "state", "uptime_s", "peers"]);
    let one = std::slice::from_ref(body);
    let nodes = body.get("nodes").and_then(Value::as_array).map_or(one, Vec::as_slice);
    for node in nodes {
        let text = |key: &str| match node.get(key) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        };
        let peers = node.get("peers").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let peer = |peer: &Value| {
            let name = peer.get("name").and_then(Value::as_str).unwrap_or("?");
            let up = peer.get("reachable") == Some(&Value::Bool(true));
            format!("{name} {}", if up { "reachable" } else { "UNREACHABLE" })
        };
        let peers: Vec<String> = peers.iter().map(peer).collect();
        let why = text("why");
        let peers = if why.is_empty() { peers.join(", ") } else { why };
        table.push([text("node"), text("role"), text("state"), text("uptime_s"), peers]);
    }
    table
}

/// `[USER] [--node NODE] [--method METHOD]`.
fn trace_path(words: &[&str]) -> Result<String, String> {
    const USAGE: &str = "write `cscf ctl trace [USER] [--node NODE] [--method METHOD]`";
    let mut query = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (key, value) = match *word {
            "--node" | "--method" => {
                let key = word.trim_start_matches('-');
                (key, words.next().ok_or_else(|| format!("{word} needs a value; {USAGE}"))?)
            }
            option if option.starts_with('-') => {
                return Err(format!("there is no option {option} here; {USAGE}"));
            }
            _ => ("user", word),
        };
        if query.iter().any(|(known, _)| *known == key) {
            return Err(format!("`{value}` is one {key} too many; {USAGE}"));
        }
        query.push((key, value));
    }
    let query: Vec<String> =
        query.iter().map(|(key, value)| format!("{key}={}", encoded(value))).collect();
    Ok(format!("/trace?{}", query.join("&")))
}

/// The trace as it grows: a ladder, or a line of JSON an event.
fn trace(client: &Client, path: &str, as_json: bool) -> Result<ExitCode, String> {
    let lab = client.ask(&Method::GET, "/lab", None)?;
    if lab.status >= 400 {
        return Ok(refused(&lab));
    }
    let nodes = lab.body.get("nodes").and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |node: &Value, key: &str| {
        node.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let columns: Vec<String> = nodes.iter().map(|node| text(node, "name")).collect();
    let listen = |node: &Value| Some((text(node, "listen").parse().ok()?, text(node, "name")));
    let names: Names = nodes.iter().filter_map(listen).collect();
    let mut ladder = Growing::new(&columns, &names, Style::default());
    let mut order = InOrder::default();
    let mut draw = |events: Vec<TraceEvent>| {
        let lines: String = events.iter().map(|event| ladder.event(event)).collect();
        term::out(&lines);
    };
    client.follow(path, &mut |kind, data| {
        if kind == "quiet" {
            draw(order.rest());
            return true;
        }
        if kind == "dropped" {
            let lost: Value = serde_json::from_str(data).unwrap_or_default();
            let lost = lost.get("dropped").and_then(Value::as_u64).unwrap_or_default();
            term::log(&format!("({lost} events were not read in time)\n"));
        }
        if as_json {
            term::out(&format!("{data}\n"));
        } else if let Some(event) = from_json(data) {
            draw(order.event(&event));
        }
        true
    })?;
    draw(order.rest());
    Ok(ExitCode::from(EXIT_OK))
}

fn subscriber(client: &Client, what: &str, name: &str, rest: &[&str]) -> Result<ExitCode, String> {
    let mut entry = match rest {
        [first, ..] if first.starts_with('{') => read_entry(&rest.join(" "))?,
        _ => entry_of(rest)?,
    };
    let reply = if what == "add" {
        entry.insert("name".to_owned(), name.into());
        client.ask(&Method::POST, "/subscribers", Some(&Value::Object(entry)))?
    } else {
        let path = format!("/subscribers/{}", encoded(name));
        client.ask(&Method::PATCH, &path, Some(&Value::Object(entry)))?
    };
    match reply.body.get("done").and_then(Value::as_str) {
        Some(done) => Ok(term::print(&format!("{done}\n"))),
        None => Ok(refused(&reply)),
    }
}

/// The entry that options mean.
fn entry_of(words: &[&str]) -> Result<Map<String, Value>, String> {
    const OPTIONS: &str = "--impi, --impu (once for each), --password, --k with --opc or --op, \
                           --barred true|false; or an entry as in a lab file: {impi: …}";
    let (mut entry, mut impus, mut aka) = (Map::new(), Vec::new(), Map::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let option = word
            .strip_prefix("--")
            .ok_or_else(|| format!("`{word}` is not understood here; there are {OPTIONS}"))?;
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        match option {
            "impi" | "barred" => {
                entry.insert(option.to_owned(), (*value).into());
            }
            "impu" => impus.push(Value::from(*value)),
            "password" => {
                entry.insert("digest".to_owned(), json!({"password": value}));
            }
            "k" | "op" | "opc" => {
                aka.insert(option.to_owned(), (*value).into());
            }
            _ => return Err(format!("there is no option {word} here; there are {OPTIONS}")),
        }
    }
    if !impus.is_empty() {
        entry.insert("impus".to_owned(), Value::Array(impus));
    }
    if !aka.is_empty() {
        entry.insert("aka".to_owned(), Value::Object(aka));
    }
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_asked_for_by_its_filters() {
        let path = trace_path(&["alice", "--node", "p1", "--method", "INVITE"]);
        assert_eq!(path.as_deref(), Ok("/trace?user=alice&node=p1&method=INVITE"));
        assert_eq!(trace_path(&[]).as_deref(), Ok("/trace?"));
        assert!(trace_path(&["alice", "bob"]).expect_err("two").starts_with("`bob` is one user"));
        assert!(trace_path(&["--nod", "p1"]).expect_err("no").contains("no option --nod"));
    }

    #[test]
    fn options_make_an_entry() {
        let entry = entry_of(&["--impi", "erin", "--impu", "sip:erin@x", "--password", "pass"]);
        let expected =
            json!({"impi": "erin", "impus": ["sip:erin@x"], "digest": {"password": "pass"}});
        assert_eq!(entry.map(Value::Object), Ok(expected));
        assert!(entry_of(&["erin"]).expect_err("no option").contains("--impi"));
        assert!(entry_of(&["--age", "7"]).expect_err("no option").contains("no option --age"));
        assert_eq!(entry_of(&["--impi"]), Err("--impi needs a value".to_owned()));
    }

    #[test]
    fn health_is_a_row_a_node() {
        let body = json!({"state": "down", "nodes": [
            {"node": "i1", "role": "i-cscf", "state": "up", "uptime_s": 7,
             "peers": [{"name": "hss", "reachable": false}]},
            {"node": "s1", "role": "s-cscf", "state": "down", "why": "it has ended"},
        ]});
        let rows = health_table(&body).rows;
        assert_eq!(rows[0], ["i1", "i-cscf", "up", "7", "hss UNREACHABLE"]);
        assert_eq!(rows[1], ["s1", "s-cscf", "down", "", "it has ended"]);
    }
}
