//! The program `s-cscf`: one S-CSCF of a lab on real sockets.

use std::process::ExitCode;

use cscf_core::config::NodeRole;
use cscf_core::host::{Allocator, program};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    program::run(NodeRole::Scscf, |lab, node, start| {
        Ok(Box::new(s_cscf::lab::node(lab, node, start)?))
    })
}
