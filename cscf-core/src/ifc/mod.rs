//! ifc.
