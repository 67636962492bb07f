//! The command `cscf`, built for the tests of this package: `cargo test` builds no other package's
//! program.

use std::process::ExitCode;

// As in `cscf` itself.
use mimalloc as _;

fn main() -> ExitCode {
    scenarios::main()
}
