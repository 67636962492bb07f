//! The program `s-cscf`: one S-CSCF of a lab on real sockets.

use std::process::ExitCode;

use cscf_core::config::NodeRole;
use cscf_core::host::program;
// Linked, it is the allocator of the program (`docs/decisions.md` has why); a library chooses none.
use mimalloc as _;

fn main() -> ExitCode {
    program::run(NodeRole::Scscf, |lab, node, start| {
        Ok(Box::new(s_cscf::lab::node(lab, node, start)?))
    })
}
