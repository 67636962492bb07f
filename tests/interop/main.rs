//! Programs of others as peers and as judges. Each test says that it is skipped where its program
//! is not installed.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

#[path = "../phone.rs"]
mod phone;
#[path = "../running.rs"]
mod running;

mod baresip;
mod captured;
mod dns;
mod esp;
mod esp_register;
mod netns;
mod osmo;
mod sipp;
mod sipp_device;
mod sipp_methods;
mod split;
mod stations;
mod tls;
mod tshark;
mod uml;
