//! role.
