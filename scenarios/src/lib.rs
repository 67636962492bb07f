//! The bench: lab, UE emulator, scenarios, reports, and the command `cscf`.

pub mod appserver;
pub mod builtin;
pub mod capture;
pub mod certificates;
pub mod cli;
pub mod codes;
pub mod conformance;
pub mod control;
pub mod device;
pub mod explain;
pub mod lab;
pub mod load;
pub mod record;
pub mod report;
pub mod run;
pub mod schema;
pub mod script;
pub mod ue;
pub mod up;

pub use cli::main;
pub use cscf_core::config::operate;
