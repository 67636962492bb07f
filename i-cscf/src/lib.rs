//! The I-CSCF.
