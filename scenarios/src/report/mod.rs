//! Readers of the trace: ladder, packet capture, JSON lines; and the results as JUnit XML.

pub mod artefacts;
pub mod diagnosis;
mod escape;
mod hops;
pub mod html;
pub mod junit;
pub mod ladder;
mod parties;
pub mod pcapng;
pub mod summary;

pub use hops::{Hop, Speakers, hops};
pub use parties::{Link, Parties};
