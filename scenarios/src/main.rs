//! The command `cscf`.

fn main() {}
