//! The programs as their users run them: what they print, serve, keep and refuse.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

#[path = "../asking.rs"]
mod asking;
#[path = "../described.rs"]
mod described;
#[path = "../phone.rs"]
mod phone;
#[path = "../running.rs"]
mod running;

mod binaries;
mod checking;
mod control;
mod devices;
mod doctor;
mod faults;
mod garbage;
mod instructions;
mod load;
mod protected;
mod reports;
mod state;
mod subscribers;
mod watch;
