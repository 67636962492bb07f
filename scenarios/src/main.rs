//! The command `cscf`.

use std::process::ExitCode;

fn main() -> ExitCode {
    scenarios::main()
}
