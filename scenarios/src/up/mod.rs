//! A live lab: its nodes as processes of their own, or all in this one.

pub mod processes;

pub use processes::{NodeEvent, NodeProcesses, StartError};
