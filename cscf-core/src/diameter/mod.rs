//! diameter.
