//! Messages that break one rule each.
