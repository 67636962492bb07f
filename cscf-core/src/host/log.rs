//! Trace events as log lines, for programs that run by themselves: refusals, drops and states at
//! `info`, every message and decision at `debug`.

use std::sync::{Mutex, OnceLock, PoisonError};

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::trace::{Protocol, TraceEvent, TraceKind, Wire};

/// Sends log lines to standard error. What is logged is chosen by the environment variable
/// `CSCF_LOG`, e.g. `debug` or `cscf_core::host=debug`; by default `info`.
pub fn init() {
    init_with("info");
}

/// As [`init`], with another filter where the environment names none. What is logged can be changed
/// by [`change`] from then on.
pub fn init_with(default: &str) {
    let named = std::env::var("CSCF_LOG").ok().filter(|text| text.parse::<EnvFilter>().is_ok());
    let text = named.unwrap_or_else(|| default.to_owned());
    let (filter, handle) = reload::Layer::new(EnvFilter::new(&text));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false)
        .without_time();
    // A second call finds the first one's lines in place, which is as good.
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok() {
        let _ = CHOSEN.set((handle, Mutex::new(text)));
    }
}

type Chosen = (reload::Handle<EnvFilter, Registry>, Mutex<String>);

/// What this process logs, and how that is changed.
static CHOSEN: OnceLock<Chosen> = OnceLock::new();

/// What is logged now; `off` where nothing was set up.
#[must_use]
pub fn chosen() -> String {
    let text = CHOSEN.get().map(|(_, text)| text.lock().unwrap_or_else(PoisonError::into_inner));
    text.map_or_else(|| "off".to_owned(), |text| text.clone())
}

/// Changes what this process logs from now on.
///
/// # Errors
///
/// The text is no filter; nothing is logged here.
pub fn change(text: &str) -> Result<(), String> {
    let Some((handle, chosen)) = CHOSEN.get() else {
        return Err("this process writes no log".to_owned());
    };
    let filter: EnvFilter = text.parse().map_err(|fault| {
        format!("`{text}` is no filter ({fault}); e.g. off, info, debug, cscf_core::host=debug")
    })?;
    handle.reload(filter).map_err(|fault| fault.to_string())?;
    text.clone_into(&mut chosen.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(())
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
