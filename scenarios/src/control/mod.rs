//! The asking side of the control interface: what `cscf ctl` and `cscf why` are.

pub mod client;

pub use cscf_core::host::control::{Reply, answer_of};
