//! Trace events as log lines, for programs that run by themselves: refusals, drops and states at
//! `info`, every message and decision at `debug`.

use tracing_subscriber::EnvFilter;

use crate::trace::{Protocol, TraceEvent, TraceKind, Wire};

/// Sends log lines to standard error. What is logged is chosen by the environment variable
/// `CSCF_LOG`, e.g. `debug` or `cscf_core::host=debug`; by default `info`.
pub fn init() {
    let filter = EnvFilter::try_from_env("CSCF_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .without_time();
    // A second call finds the first one's lines in place, which is as good.
    let _ = lines.try_init();
}

/// Logs one event.
pub fn event(event: &TraceEvent) {
    let (at, node) = (event.at, &event.node);
    match &event.kind {
        TraceKind::Dropped { remote, reason } => {
            tracing::info!("{at} {node} dropped what {remote} sent: {reason}");
        }
        TraceKind::Fault { action, wire } => {
            tracing::debug!("{at} {node} {action}: {}", summary(wire));
        }
        TraceKind::Note(note) if note.refusal => {
            tracing::info!("{at} {node} {} [{}]", note.text, note.clause);
        }
        TraceKind::Note(note) => {
            tracing::debug!("{at} {node} {} [{}]", note.text, note.clause);
        }
        TraceKind::Received(wire) => {
            tracing::debug!("{at} {node} <- {} {}", wire.remote, summary(wire));
        }
        TraceKind::Sent(wire) => {
            tracing::debug!("{at} {node} -> {} {}", wire.remote, summary(wire));
        }
        TraceKind::State(state) => tracing::info!("{at} {node} {state}"),
    }
}

/// The start line of a SIP message, the size of any other.
fn summary(wire: &Wire) -> String {
    match wire.protocol {
        Protocol::Diameter => format!("Diameter, {} bytes", wire.bytes.len()),
        Protocol::Sip => {
            let line = wire.bytes.split(|byte| *byte == b'\r' || *byte == b'\n').next();
            String::from_utf8_lossy(line.unwrap_or_default()).into_owned()
        }
    }
}
