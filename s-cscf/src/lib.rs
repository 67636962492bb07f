//! The S-CSCF.
