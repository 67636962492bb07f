//! The page: hostile messages stay text, hops are compared, the size is bounded.

use std::net::SocketAddr;
use std::process::Command;

use bytes::Bytes;
use cscf_core::config::NodeRole;
use cscf_core::time::Instant;
use cscf_core::trace::{Protocol, TraceKind, Wire};
use cscf_core::transport::Transport;
use serde_json::Value;

use super::*;

fn addr(host: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, host], 5060))
}

fn parties() -> Parties {
    let named = [(1, "alice"), (2, "p1"), (3, "i1")];
    let roles = [("p1", NodeRole::Pcscf), ("i1", NodeRole::Icscf)];
    Parties {
        columns: named.map(|(_, name)| name.to_owned()).into(),
        names: named.map(|(host, name)| (addr(host), name.to_owned())).into(),
        roles: roles.map(|(name, role)| (name.to_owned(), role)).into(),
    }
}

fn sent(node: &str, from: u8, to: u8, text: String) -> TraceEvent {
    let wire = Wire {
        protocol: Protocol::Sip,
        transport: Transport::Udp,
        local: addr(from),
        remote: addr(to),
        bytes: Bytes::from(text),
    };
    TraceEvent { at: Instant::from_millis(5), node: node.into(), kind: TraceKind::Sent(wire) }
}

fn options(call: &str, further: &str) -> String {
    format!(
        "OPTIONS sip:bob@ims.example SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKa\r\n\
         From: <sip:alice@ims.example>;tag=1\r\nTo: <sip:bob@ims.example>\r\nCall-ID: {call}\r\n\
         CSeq: 1 OPTIONS\r\n{further}Content-Length: 0\r\n\r\n"
    )
}

/// The trace in the page, as the script reads it.
fn trace(page: &str) -> Value {
    let (_, rest) = page.split_once("id=\"trace\">").expect("the block");
    let (json, _) = rest.split_once("</script>").expect("its end");
    serde_json::from_str(json).expect("JSON")
}

#[test]
fn what_a_peer_sends_is_no_markup() {
    let hostile = "Subject: </script><script>alert(1)</script><!-- & \u{2028}\r\n";
    let events = [sent("alice", 1, 2, options("</script><img src=x>", hostile))];
    let result = Suite { name: "</title><script>".into(), ..Suite::default() };
    let page = draw("</title><script>", &events, &parties(), Some(&result));
    assert_eq!(page.matches("<script").count(), 2, "the block and the script of the page");
    assert_eq!(page.matches("</script").count(), 2);
    assert!(
        !page.contains("<img") && !page.contains("<!--") && page.matches("</title>").count() == 1
    );
    let trace = trace(&page);
    let lines: Vec<&str> =
        trace["lines"].as_array().expect("lines").iter().filter_map(Value::as_str).collect();
    assert!(lines.contains(&hostile.trim_end_matches("\r\n")), "{lines:?}");
    assert_eq!(trace["calls"][0], "OPTIONS </script><img src=x>");
    // The policy names the script and the style that are there, and nothing from elsewhere.
    assert!(page.contains(&format!("script-src 'sha256-{}'", hash(SCRIPT))));
    assert!(!page.contains("http:") && !page.contains("https:"), "the page asks nobody");
}

#[test]
fn a_message_knows_the_hop_before_and_the_users_it_concerns() {
    let events = [
        sent("alice", 1, 2, options("c1", "")),
        sent("p1", 2, 3, options("c1", "P-Visited-Network-ID: x\r\n")),
        sent("p1", 2, 3, options("c2", "")),
    ];
    let trace = trace(&draw("t", &events, &parties(), None));
    assert_eq!(trace["rows"][0]["came"], Value::Null);
    assert_eq!(trace["rows"][1]["came"], 0);
    assert_eq!(trace["rows"][2]["came"], Value::Null);
    assert_eq!(trace["links"], serde_json::json!(["Gm", "Mw"]));
    // Between p1 and i1, but about alice.
    assert_eq!(trace["rows"][1]["parties"], serde_json::json!([0, 1, 2]));
    assert_eq!(trace["calls"].as_array().expect("calls").len(), 2);
}

#[test]
fn a_long_trace_has_a_bounded_page() {
    let events: Vec<TraceEvent> = (0..30_000)
        .map(|number| sent("alice", 1, 2, options(&format!("c{}", number / 6), "")))
        .collect();
    let page = draw("t", &events, &parties(), None);
    assert!(page.len() < 8_000_000, "{} bytes", page.len());
    assert_eq!(trace(&page)["left"], 10_000);
    let huge = options("c", &format!("X: {}\r\n", "y".repeat(200_000)));
    let page = draw("t", &[sent("alice", 1, 2, huge)], &parties(), None);
    assert!(page.len() < 100_000, "{} bytes", page.len());
    assert_eq!(trace(&page)["rows"][0]["cut"], true);
    let long = "z".repeat(7_000);
    let events: Vec<TraceEvent> = (0..400)
        .map(|number| {
            let text = options(&format!("{long}{number}"), &format!("Content-Type: {long}\r\n"));
            let method = format!("M{number}{}", &long[..100]);
            sent("alice", 1, 2, text.replace("OPTIONS", &method))
        })
        .chain((0..400).map(|number| {
            let kind = TraceKind::State(format!("{number}{long}"));
            TraceEvent { at: Instant::from_millis(5), node: "alice".into(), kind }
        }))
        .collect();
    let page = draw("t", &events, &parties(), None);
    let trace = trace(&page);
    assert_eq!(trace["methods"].as_array().expect("methods").len(), 200);
    let bytes = |key: &str| trace[key].to_string().len();
    assert!(bytes("methods") + bytes("calls") < 200_000, "{}", bytes("calls"));
    for row in trace["rows"].as_array().expect("rows") {
        let said = [&row["label"], &row["type"], &row["told"]].map(|it| it.to_string().len());
        assert!(said.iter().sum::<usize>() < 3_000, "{said:?}");
    }
}

#[test]
fn the_script_tells_what_a_hop_has_changed() {
    let test = r#"
const was = ["INVITE sip:b SIP/2.0", "Via: 1", "Max-Forwards: 70", "Route: p", "Route: s", "X: 1"];
const is = ["INVITE sip:b SIP/2.0", "Via: 2", "Via: 1", "Max-Forwards: 69", "Route: s", "X: 1"];
const said = compare(was, is).map(([sign, line]) => sign + line);
const expected = [" INVITE sip:b SIP/2.0", "+Via: 2", " Via: 1", "-Max-Forwards: 70",
  "+Max-Forwards: 69", "-Route: p", " Route: s", " X: 1"];
if (JSON.stringify(said) !== JSON.stringify(expected)) throw new Error(JSON.stringify(said));
const trace = { lines: ["Subject: Lunch"] };
const row = { parties: [0], method: 1, call: 2, label: "INVITE", head: [0] };
const all = { party: "", method: "", call: "", text: "" };
const of = (change) => isShown(row, { ...all, ...change }, trace);
const found = [{}, { party: "0" }, { party: "1" }, { method: "1" }, { method: "0" }, { call: "2" },
  { text: "lunch" }, { text: "dinner" }].map(of);
if (found.join() !== "true,true,false,true,false,true,true,false") throw new Error(found.join());
"#;
    let run = Command::new("node").arg("-e").arg(format!("{SCRIPT}{test}")).output();
    let Ok(run) = run else {
        println!("skipped: node is not installed");
        return;
    };
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}
