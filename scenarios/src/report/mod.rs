//! Readers of the trace: ladder, packet capture, JSON lines, summary; and the results as `JUnit`
//! XML and for GitHub.

pub mod artefacts;
pub mod diagnosis;
pub mod digest;
mod escape;
pub mod github;
mod hops;
pub mod html;
pub mod junit;
pub mod ladder;
pub mod order;
mod parties;
pub mod pcapng;
pub mod summary;

pub(crate) use escape::plain;
pub use hops::{Hop, Speakers, hops};
pub use parties::{Link, Parties};
