//! Our own `trace.jsonl`: what nodes sent, and what they received from those who write no trace.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{self, BufRead, Read as _};
use std::net::SocketAddr;

use bytes::Bytes;
use cscf_core::host::json;
use cscf_core::trace::{TraceEvent, TraceKind, Wire};

use super::{BYTES_MAX, Capture, Captured};
use crate::report::plain;

/// The longest line: a message in Base64 and its frame.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// Reads all lines; a line that is no event is a flaw.
pub(super) fn read(mut input: impl BufRead) -> io::Result<Capture> {
    let mut capture = Capture::default();
    let mut lines: Vec<u64> = Vec::new();
    let mut bytes = 0;
    let mut number = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        number += 1;
        bytes += read;
        if bytes > BYTES_MAX {
            capture
                .flaw(format!("line {number}: more than {BYTES_MAX} bytes; the rest is not read"));
            break;
        }
        let text = String::from_utf8_lossy(&line);
        if text.trim().is_empty() {
            continue;
        }
        match json::from_json(text.trim()) {
            Some(mut event) => {
                if let Cow::Owned(name) = plain(&event.node) {
                    event.node = name.into();
                }
                lines.push(number);
                capture.events.push(event);
            }
            None => capture.flaw(format!("line {number} is no event of a trace")),
        }
    }
    fill(&mut capture, &lines);
    Ok(capture)
}

/// Makes messages of the events, the n-th of which stands in the n-th of these lines.
pub(super) fn fill(capture: &mut Capture, lines: &[u64]) {
    let mut kept = 0;
    let sent: BTreeSet<(SocketAddr, Bytes)> = capture
        .events
        .iter()
        .filter_map(sent_wire)
        .map(|it| (it.remote, it.bytes.clone()))
        .collect();
    let tellers: BTreeSet<SocketAddr> =
        capture.events.iter().filter_map(sent_wire).map(|it| it.local).collect();
    let events = std::mem::take(&mut capture.events);
    for (event, line) in events.iter().zip(lines) {
        if let TraceKind::Sent(wire) | TraceKind::Received(wire) = &event.kind {
            capture.names.entry(wire.local).or_insert_with(|| event.node.to_string());
        }
        let (wire, from, to) = match &event.kind {
            TraceKind::Sent(wire) => (wire, wire.local, wire.remote),
            // From somebody whose own trace is not in the file.
            TraceKind::Received(wire)
                if !tellers.contains(&wire.remote)
                    && !sent.contains(&(wire.local, wire.bytes.clone())) =>
            {
                (wire, wire.remote, wire.local)
            }
            _ => continue,
        };
        let message = Captured {
            frame: *line,
            at: event.at,
            from,
            to,
            transport: wire.transport,
            protocol: wire.protocol,
            protected: false,
            bytes: wire.bytes.clone(),
        };
        if !capture.keep(message, &mut kept) {
            break;
        }
    }
    capture.events = events;
}

const fn sent_wire(event: &TraceEvent) -> Option<&Wire> {
    match &event.kind {
        TraceKind::Sent(wire) => Some(wire),
        _ => None,
    }
}
