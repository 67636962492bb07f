//! The command `cscf`.

use std::process::ExitCode;

// Linked, it is the allocator of the program (`docs/decisions.md` has why); a library chooses none.
use mimalloc as _;

fn main() -> ExitCode {
    scenarios::main()
}
