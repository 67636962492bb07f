//! Readers of the trace: ladder, packet capture, JSON lines.

pub mod artefacts;
pub mod diagnosis;
pub mod ladder;
pub mod pcapng;
pub mod summary;
