//! The P-CSCF.
