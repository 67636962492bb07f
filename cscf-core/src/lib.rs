//! The core of the IMS emulator: everything below the three roles.
//!
//! **Floors** (lower knows nothing of higher; a test enforces it, see `tests/tidy.rs`):
//!
//! ```text
//! 11  host                              sockets, real clock      <- the only impure floor
//! 10  config                            the lab file
//!  9  engine                            joins role, proxy, transactions, transport rules
//!  8  role                              trait Role, Env, Action
//!  7  operator                          orders of an operator
//!  6  fault   hss   proxy   ua          fault rules | store | response contexts | user agents
//!  5  ifc   registrar   diameter
//!  4  transaction   dialog   cx   trace
//!  3  identity   transport   auth
//!  2  sip   sms   words                messages, headers, SDP | RP and TP | words of people
//!  1  time   ids   clause   map
//! ```
//!
//! **Drain rule**: after each [`engine::Node::handle_input`] call [`engine::Node::poll_output`]
//! until it returns `None`, then [`engine::Node::poll_timeout`] once; nothing is sent otherwise.
//!
//! Start reading at [`role::Role`], then [`engine::Engine`].

pub mod auth;
pub mod clause;
pub mod config;
pub mod cx;
pub mod dialog;
pub mod diameter;
pub mod engine;
pub mod fault;
pub mod host;
pub mod hss;
pub mod identity;
pub mod ids;
pub mod ifc;
pub mod map;
pub mod operator;
pub mod policy;
pub mod proxy;
pub mod registrar;
pub mod role;
pub mod sip;
pub mod sms;
pub mod time;
pub mod trace;
pub mod transaction;
pub mod transport;
pub mod ua;
pub mod words;
