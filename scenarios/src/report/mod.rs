//! Readers of the trace: ladder, packet capture, JSON lines; and the results as JUnit XML.

pub mod artefacts;
pub mod diagnosis;
mod escape;
pub mod junit;
pub mod ladder;
mod parties;
pub mod pcapng;
pub mod summary;

pub use parties::{Link, Parties};
