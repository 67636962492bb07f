//! SIP syntax: lossless messages, header names, URIs, typed headers, SDP. Knows no role and no time.
//!
//! A message that came from the wire keeps its bytes: a header line nobody changed leaves as it
//! came, order, folding and compact form included. Typed values are read on demand.

mod headers;
mod message;
mod method;
mod name;
mod parse;

pub use headers::{Field, Headers, split_values};
pub use message::{Message, Request, Response};
pub use method::Method;
pub use name::HeaderName;
pub use parse::{LIMITS, Limits, ParseError, parse};
