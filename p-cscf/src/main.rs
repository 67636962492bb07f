//! The program `p-cscf`: one P-CSCF of a lab on real sockets.

use std::process::ExitCode;

use cscf_core::config::NodeRole;
use cscf_core::host::program;
// Linked, it is the allocator of the program (`docs/decisions.md` has why); a library chooses none.
use mimalloc as _;

fn main() -> ExitCode {
    program::run(NodeRole::Pcscf, |lab, node, start| {
        Ok(Box::new(p_cscf::lab::node(lab, node, start)?))
    })
}
