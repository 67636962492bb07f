//! Whose entries of the kernel are whose. Each owner marks what it installs with a number and holds
//! an abstract Unix socket of that number for as long as it lives. Such sockets belong to a network
//! namespace, as XFRM does, and end with their process, also when that crashes: entries with a mark
//! whose socket nobody holds are left over.

use std::collections::BTreeMap;
use std::io;

use nix::sys::socket::{getsockopt, sockopt};
use socket2::{Domain, SockAddr, Socket, Type};

/// The upper eight bits of every mark of ours.
const MAGIC: u32 = 0x6c;
/// A mark that no owner takes: what has it is left over.
pub(super) const NOBODY: u32 = MAGIC << 24;
/// How often another number is tried when one is taken.
const ATTEMPTS: usize = 32;

/// The mark of one owner, and its sign of life.
#[derive(Debug)]
pub(super) struct Owner {
    mark: u32,
    _alive: Socket,
}

/// Who holds a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// Nobody any more: the entry is left over.
    Gone,
    /// A running process; its number, where it can be seen from here.
    Alive(Option<i32>),
    /// The mark is none of ours.
    Foreign,
}

impl Owner {
    /// Takes a mark that nobody in this network namespace has.
    pub(super) fn new() -> io::Result<Self> {
        let mut last = io::ErrorKind::AddrInUse.into();
        for _ in 0..ATTEMPTS {
            let chance = getrandom::u32().map_err(io::Error::other)?;
            let mark = MAGIC << 24 | chance >> 8;
            if mark == NOBODY {
                continue;
            }
            match hold(mark) {
                Ok(alive) => return Ok(Self { mark, _alive: alive }),
                Err(fault) => last = fault,
            }
        }
        Err(last)
    }

    /// What stands as request id of our states and templates, and as priority of our guards.
    pub(super) const fn mark(&self) -> u32 {
        self.mark
    }
}

/// Whether a number is the mark of an owner, dead or alive.
pub(super) const fn is_mark(number: u32) -> bool {
    number >> 24 == MAGIC
}

/// Who holds a mark.
pub(super) fn holder(mark: u32) -> Holder {
    if !is_mark(mark) {
        return Holder::Foreign;
    }
    match hold(mark) {
        Ok(_) => Holder::Gone,
        Err(_) => Holder::Alive(process(mark).ok()),
    }
}

/// Who holds which mark, each asked once.
#[derive(Debug, Default)]
pub(super) struct Holders {
    known: BTreeMap<u32, bool>,
}

impl Holders {
    /// Whether an entry with this mark is left over.
    pub(super) fn is_gone(&mut self, mark: u32) -> bool {
        is_mark(mark)
            && *self.known.entry(mark).or_insert_with(|| matches!(holder(mark), Holder::Gone))
    }
}

fn address(mark: u32) -> io::Result<SockAddr> {
    SockAddr::unix(format!("\0cscf-xfrm-{mark:08x}"))
}

fn hold(mark: u32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&address(mark)?)?;
    socket.listen(1)?;
    Ok(socket)
}

fn process(mark: u32) -> io::Result<i32> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&address(mark)?)?;
    Ok(getsockopt(&socket, sockopt::PeerCredentials)?.pid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_held_until_its_owner_ends() {
        let owner = Owner::new().expect("a mark");
        let mark = owner.mark();
        let own = i32::try_from(std::process::id()).expect("a process number");

        assert!(is_mark(mark));
        assert_eq!(holder(mark), Holder::Alive(Some(own)));
        assert!(!Holders::default().is_gone(mark));
        drop(owner);
        assert_eq!(holder(mark), Holder::Gone);
        assert!(Holders::default().is_gone(mark));
        assert_eq!(holder(1_000), Holder::Foreign);
        assert!(!Holders::default().is_gone(1_000));
    }
}
