//! The kernel's ESP through netlink (XFRM).

use std::io;

use crate::transport::esp::DropCause;
use crate::transport::ipsec::SaCommand;

/// Whether the kernel can protect packets and this process may tell it to.
///
/// # Errors
///
/// Why not, and how to allow it.
pub(super) fn kernel_can() -> Result<(), String> {
    Err("this program does not use it".to_owned())
}

/// The kernel's associations and policies that one node has installed; they go with it.
#[derive(Debug)]
pub(super) struct Xfrm {}

impl Xfrm {
    /// Opens the way to the kernel.
    pub(super) fn open() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Installs or removes the four associations of a set with their policies. They hold when this
    /// returns: packets follow at once.
    ///
    /// # Errors
    ///
    /// What the kernel says, for the trace.
    pub(super) fn command(&mut self, command: &SaCommand) -> Result<(), String> {
        let _ = command;
        Err("this program does not use it".to_owned())
    }

    /// How many packets the kernel has dropped, by cause.
    pub(super) fn dropped(&self) -> Vec<(DropCause, u64)> {
        Vec::new()
    }
}
