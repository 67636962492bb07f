//! hss.
