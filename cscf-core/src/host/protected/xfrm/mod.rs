//! The kernel's `IPsec` as one that obeys orders about security associations (XFRM through
//! netlink).
//!
//! A set is four states and four policies (TS 33.203 §7.1); protected ports have guards besides,
//! so that clear text neither comes in nor goes out there while no set lets it. Each owner marks
//! what it installs (see `owner`), removes exactly that, and at its start what owners left that
//! are gone.

mod drops;
mod entries;
mod fault;
mod netlink;
mod owner;
mod probe;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use netlink_packet_xfrm::{Selector, XfrmAttrs, XfrmMessage, policy, state};
use nix::errno::Errno;

pub(super) use drops::KernelDrop;
pub use fault::KernelFault;
pub(super) use probe::usable;
pub use probe::{KernelCan, PairCan, kernel_can};

use crate::transport::SaId;
use crate::transport::ipsec::{Algorithms, Mode, SaSet};
use drops::Drops;
use entries::{Association, Direction};
use netlink::Netlink;
use owner::{Holder, Holders, Owner};

/// The associations of one node in the kernel. They end with it.
#[derive(Debug)]
pub(super) struct Xfrm {
    netlink: Netlink,
    owner: Owner,
    sets: BTreeMap<SaId, [Association; 4]>,
    guards: BTreeSet<SocketAddr>,
    drops: Drops,
    /// Entries that could not be taken away when they should have been.
    left: Vec<Entry>,
    left_over: usize,
}

/// What of an association was installed, for taking it back.
#[derive(Clone, Copy)]
enum Installed {
    State,
    Policy,
}

/// An entry of ours in the kernel.
#[derive(Clone, Copy, Debug)]
enum Entry {
    State(Association),
    Policy(Association),
    Guard(SocketAddr, Direction),
}

impl Entry {
    const fn of(kind: Installed, of: &Association) -> Self {
        match kind {
            Installed::State => Self::State(*of),
            Installed::Policy => Self::Policy(*of),
        }
    }

    fn delete(&self) -> XfrmMessage {
        match self {
            Self::State(of) => entries::delete_state(of.destination.ip(), of.spi),
            Self::Policy(of) => entries::delete_policy(of),
            Self::Guard(addr, direction) => entries::delete_guard(*addr, *direction),
        }
    }
}

/// Entries that could not be taken away and are remembered; what is beyond is for the next owner,
/// who finds their mark without a holder.
const LEFT_MAX: usize = 1024;

impl Xfrm {
    /// Asks the kernel for its `IPsec`, and takes away what owners left in it that are gone.
    ///
    /// # Errors
    ///
    /// Which permission or module is missing, and what to do.
    pub(super) fn open() -> Result<Self, KernelFault> {
        let fault = |what| move |fault: io::Error| KernelFault::of(what, &fault, None);
        let netlink = Netlink::open().map_err(fault("be reached"))?;
        let owner = Owner::new().map_err(fault("mark what is ours"))?;
        let (sets, guards, drops) = (BTreeMap::new(), BTreeSet::new(), Drops::new());
        let mut this = Self { netlink, owner, sets, guards, drops, left: Vec::new(), left_over: 0 };
        this.left_over = this.sweep().map_err(fault("look at its associations"))?;
        Ok(this)
    }

    /// How many states and policies of owners that are gone were found and removed at the start;
    /// told once.
    pub(super) const fn take_left_over(&mut self) -> usize {
        std::mem::replace(&mut self.left_over, 0)
    }

    /// Lets nothing in or out at a protected port but what associations protect.
    ///
    /// # Errors
    ///
    /// Why not: another process guards it, a permission is missing.
    pub(super) fn guard(&mut self, addr: SocketAddr) -> Result<(), KernelFault> {
        for direction in Direction::BOTH {
            let mark = self.owner.mark();
            if let Err(fault) = self.netlink.order(entries::add_guard(addr, direction, mark)) {
                let what = format!("guard {addr}");
                let selector = entries::guarded(addr, direction);
                self.guards.insert(addr);
                let told = self.explain(what, &fault, None, (selector, direction));
                self.unguard(addr);
                return Err(told);
            }
        }
        self.guards.insert(addr);
        Ok(())
    }

    /// Installs a set. It holds when this returns: packets follow at once.
    ///
    /// # Errors
    ///
    /// Why not; then nothing of it is installed.
    pub(super) fn install(&mut self, set: &SaSet) -> Result<(), KernelFault> {
        let what = || format!("install {set}");
        if set.mode != Mode::Transport {
            let reason = format!("mode {} is not built for the kernel", set.mode.as_str());
            return Err(KernelFault::because(what(), reason));
        }
        if is_of_this_machine(set.remote.addr) {
            let reason = "what stays on one machine passes no IPsec of the kernel; use addresses \
                          of two hosts or network namespaces, or ESP in user space";
            return Err(KernelFault::because(what(), reason));
        }
        self.remove(set.id)?;
        let associations = entries::associations(set);
        let mark = self.owner.mark();
        let mut installed = Vec::new();
        for of in &associations {
            let orders = [
                (Installed::State, entries::add_state(set, of, mark)),
                (Installed::Policy, entries::add_policy(of, mark)),
            ];
            for (kind, order) in orders {
                if let Err(fault) = self.netlink.order(order) {
                    let about = Some((set.remote.addr, set.algorithms));
                    let place = (entries::selector(of), of.direction);
                    let told = self.explain(what(), &fault, about, place);
                    // An answer that did not come in time says nothing about what was done.
                    if fault.kind() == io::ErrorKind::WouldBlock {
                        installed.push((kind, *of));
                    }
                    for (kind, of) in installed.into_iter().rev() {
                        let _ = self.take_away(Entry::of(kind, &of));
                    }
                    return Err(told);
                }
                installed.push((kind, *of));
            }
        }
        self.sets.insert(set.id, associations);
        Ok(())
    }

    /// Removes a set, if it is installed.
    ///
    /// # Errors
    ///
    /// What was not there any more, or could not be removed; the rest is removed all the same.
    pub(super) fn remove(&mut self, id: SaId) -> Result<(), KernelFault> {
        let Some(associations) = self.sets.remove(&id) else { return Ok(()) };
        let mut first = None;
        // Policies first: while a state is missing its policy would ask for a new one.
        for kind in [Installed::Policy, Installed::State] {
            for of in &associations {
                if let Err(fault) = self.take_away(Entry::of(kind, of)) {
                    first.get_or_insert(fault);
                }
            }
        }
        for of in &associations {
            self.drops.forget(of.spi);
        }
        let what = || format!("remove set {}", id.0);
        first.map_or(Ok(()), |fault| Err(KernelFault::of(what(), &fault, None)))
    }

    /// What the kernel dropped since this was last asked, and whether all that may have news was
    /// looked at. Counters without a set are those of the whole network namespace.
    pub(super) fn drops(&mut self) -> (Vec<KernelDrop>, bool) {
        self.drops.news(&mut self.netlink, &self.sets)
    }

    /// Takes an entry away. One that the kernel could not be told to is tried again at the end.
    fn take_away(&mut self, entry: Entry) -> io::Result<()> {
        let done = self.netlink.order(entry.delete());
        let is_gone = |fault: &io::Error| {
            let errno = fault.raw_os_error().map(Errno::from_raw);
            matches!(errno, Some(Errno::ESRCH | Errno::ENOENT))
        };
        if done.as_ref().is_err_and(|fault| !is_gone(fault)) && self.left.len() < LEFT_MAX {
            self.left.push(entry);
        }
        done
    }

    /// Takes a guard away that is ours.
    pub(super) fn unguard(&mut self, addr: SocketAddr) {
        self.guards.remove(&addr);
        for direction in Direction::BOTH {
            let place = (entries::guarded(addr, direction), direction);
            if self.mark_at(place).is_none_or(|mark| mark == self.owner.mark()) {
                let _ = self.take_away(Entry::Guard(addr, direction));
            }
        }
    }

    /// The reason in words; where something stands in the way, whose it is.
    fn explain(
        &mut self,
        what: String,
        fault: &io::Error,
        about: Option<(IpAddr, Algorithms)>,
        place: (Selector, Direction),
    ) -> KernelFault {
        if fault.raw_os_error() != Some(Errno::EEXIST as i32) {
            return KernelFault::of(what, fault, about);
        }
        match self.mark_at(place).map(owner::holder) {
            Some(Holder::Alive(process)) => {
                let who = process.map_or_else(
                    || "another process".to_owned(),
                    |process| format!("process {process}"),
                );
                let reason = format!(
                    "{who} protects these addresses and ports already; end it, or use another \
                     address or other protected ports"
                );
                KernelFault::because(what, reason)
            }
            _ => KernelFault::of(what, fault, about),
        }
    }

    /// Whose policy stands at a place, if it is one of ours or was.
    fn mark_at(&mut self, (selector, direction): (Selector, Direction)) -> Option<u32> {
        match self.netlink.get(entries::get_policy(selector, direction)) {
            Ok(Some(XfrmMessage::AddPolicy(found))) => Some(mark_of(&found).unwrap_or_default()),
            _ => None,
        }
    }

    /// Removes what owners left that are gone.
    fn sweep(&mut self) -> io::Result<usize> {
        let mut holders = Holders::default();
        let mut count = 0;
        let policies = XfrmMessage::GetPolicy(policy::DelGetMessage::default());
        for message in self.netlink.dump(policies)? {
            let XfrmMessage::AddPolicy(found) = message else { continue };
            let info = &found.user_policy_info;
            if mark_of(&found).is_some_and(|mark| holders.is_gone(mark)) {
                let order = entries::delete_indexed(info.index, info.direction);
                count += usize::from(self.netlink.order(order).is_ok());
            }
        }
        let states = XfrmMessage::GetDumpSa(state::GetDumpMessage::default());
        for message in self.netlink.dump(states)? {
            let XfrmMessage::AddSa(found) = message else { continue };
            let info = &found.user_sa_info;
            if holders.is_gone(info.reqid) {
                let order = entries::delete_found(info);
                count += usize::from(self.netlink.order(order).is_ok());
            }
        }
        Ok(count)
    }
}

impl Drop for Xfrm {
    fn drop(&mut self) {
        for id in self.sets.keys().copied().collect::<Vec<_>>() {
            let _ = self.remove(id);
        }
        for addr in std::mem::take(&mut self.guards) {
            for direction in Direction::BOTH {
                let _ = self.take_away(Entry::Guard(addr, direction));
            }
        }
        for entry in std::mem::take(&mut self.left) {
            let _ = self.netlink.order(entry.delete());
        }
    }
}

/// Whether packets to this address never leave this machine: the kernel's ESP does nothing to them
/// (`disable_xfrm` of the loopback device, through which they all go).
pub(super) fn is_of_this_machine(addr: IpAddr) -> bool {
    let any =
        if addr.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let source = UdpSocket::bind(SocketAddr::new(any, 0)).and_then(|socket| {
        // Nothing is sent: it is only asked which address such packets have as their source. To
        // an address of its own a machine sends from that very address.
        socket.connect(SocketAddr::new(addr, 9))?;
        socket.local_addr()
    });
    addr.is_loopback() || source.is_ok_and(|source| source.ip() == addr)
}

/// The mark of a policy: of its template, or as priority of a guard.
fn mark_of(found: &policy::ModifyMessage) -> Option<u32> {
    let template = found.nlas.iter().find_map(|it| match it {
        XfrmAttrs::Template(templates) => templates.first().map(|it| it.reqid),
        _ => None,
    });
    Some(template.unwrap_or(found.user_policy_info.priority)).filter(|mark| owner::is_mark(*mark))
}
