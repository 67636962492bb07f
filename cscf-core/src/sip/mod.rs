//! sip.
