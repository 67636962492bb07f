//! The catalogue of behaviours and which of them a test proves: `cscf conformance` and
//! `docs/conformance.md` are made here from one source.
//!
//! The catalogue is `tests/behaviours.yaml`; what is proven, and by what, is `tests/coverage.json`,
//! which the test run writes and checks (never a search for words in sources).

mod catalogue;
mod report;
mod sample;

pub use catalogue::{Behaviour, catalogue, markers, read_catalogue};
pub use report::{Coverage, Row, json, markdown, rows, text};
pub use sample::{Draw, list, sample};

/// The coverage that the last test run wrote, compiled in.
pub const COVERAGE: &str = include_str!("../../../tests/coverage.json");
