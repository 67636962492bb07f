//! The only impure floor: sockets, the clock, the trace pipe.

pub mod json;
