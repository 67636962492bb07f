//! The command `cscf`.

use std::process::ExitCode;

use cscf_core::host::Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    scenarios::main()
}
