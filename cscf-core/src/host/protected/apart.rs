//! A network of its own for this process and its children: a user and a network namespace, in which
//! it may open raw sockets without any privilege outside.

use std::io;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid};

/// Puts this process, which must have one thread only, into a user and a network namespace of its
/// own. Inside it is root, of which nothing is seen outside: its files belong to who started it.
/// The loopback interface is still down.
///
/// # Errors
///
/// What the system says. The process may then be in a namespace in which it can do little: try it
/// in a child first.
pub fn unshare_network() -> io::Result<()> {
    let (uid, gid) = (Uid::current(), Gid::current());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)?;
    // Without this a group may not be mapped (user_namespaces(7)).
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}
