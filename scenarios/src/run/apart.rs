//! A network of its own for a whole run: where user namespaces are allowed the lab may do there
//! what needs privileges outside, and others on this machine see nothing of it.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};

use cscf_core::host::program::{self, EXIT_COULD_NOT_RUN, EXIT_OK};
use cscf_core::host::protected::{raw_can, unshare_network};
use rtnetlink::LinkUnspec;

use super::network::Network;

/// The name under which this program tries it.
pub(crate) const PROBE: &str = "cscf-network-probe";
/// The index of the loopback interface in every network namespace.
const LOOPBACK: u32 = 1;

/// Whether this process was started to try it.
pub(crate) fn is_probe(arg0: &OsStr) -> bool {
    arg0 == PROBE
}

/// Tries it, and says why it cannot be.
pub(crate) fn probe() -> ExitCode {
    match leave().and_then(|()| raw_can()) {
        Ok(()) => ExitCode::from(EXIT_OK),
        Err(fault) => {
            crate::cli::term::error(&fault);
            ExitCode::from(EXIT_COULD_NOT_RUN)
        }
    }
}

/// Puts this process into a user and a network namespace of its own, if a child of it can do so.
///
/// # Errors
///
/// Why it cannot be; then this process is where it was.
pub(crate) fn enter() -> Result<(), String> {
    allowed()?;
    leave()
}

/// Whether a child of this process can have a network of its own, with raw sockets in it.
///
/// # Errors
///
/// Why it cannot.
pub(crate) fn allowed() -> Result<(), String> {
    let program = std::env::current_exe().map_err(|fault| fault.to_string())?;
    let tried = Command::new(program).arg0(PROBE).stdin(Stdio::null()).output();
    let tried = tried.map_err(|fault| fault.to_string())?;
    if !tried.status.success() {
        let said = String::from_utf8_lossy(&tried.stderr);
        let said = said.trim().trim_start_matches("error: ");
        return Err(if said.is_empty() { tried.status.to_string() } else { said.to_owned() });
    }
    Ok(())
}

/// Leaves the namespaces this process is in for new ones with loopback.
fn leave() -> Result<(), String> {
    unshare_network().map_err(|fault| format!("no user namespace ({fault})"))?;
    let up = async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        let serving = tokio::spawn(connection);
        let link = LinkUnspec::new_with_index(LOOPBACK).up().build();
        let done = handle.link().set(link).execute().await;
        // Where the system has no IPv6 there are none, and runs that need them say so.
        for address in Network::addresses_apart() {
            if handle.address().add(LOOPBACK, address, 128).execute().await.is_err() {
                break;
            }
        }
        serving.abort();
        done.map_err(std::io::Error::other)
    };
    let done = program::runtime()?.block_on(up);
    done.map_err(|fault| format!("no loopback in a network namespace ({fault})"))
}
