//! Diameter as Cx needs it (RFC 6733, TS 29.229): messages, one connection's machine, a client for
//! I- and S-CSCF and a server for the HSS. Bytes in, bytes out; no socket, no clock.
//!
//! Reading order: `codec`, `peer`, `client`. Not here: relaying, redirection (SLF), accounting,
//! SCTP, TLS.

mod answer;
mod capabilities;
mod client;
mod codec;
mod demand;
pub mod dictionary;
mod frame;
mod peer;
mod reply;
mod request;
mod restoration;
mod server;
mod watchdog;

#[cfg(test)]
mod bytes_tests;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod rules_tests;
#[cfg(test)]
mod tests;

pub use capabilities::{LocalPeer, Timing};
pub use client::{ClientConfig, ClientInput, ClientOutput, DiameterClient};
pub(crate) use codec::claimed_length;
pub use codec::{
    AVP_MAX, Avp, Fault, FaultKind, Flags, HEADER_LENGTH, Header, MESSAGE_MAX, Message,
};
pub use dictionary::Definition;
pub use frame::Framer;

pub use server::{DiameterServer, RequestId, ServerConfig, ServerInput, ServerOutput};
