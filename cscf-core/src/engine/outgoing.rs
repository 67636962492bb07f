//! Requests on their way: which hop, which transport, which connection, and what to try next when
//! one fails (RFC 3261 §16.6 steps 7 to 10, §18.1.1; RFC 3263 §4.3).

use std::borrow::Cow;
use std::collections::VecDeque;
use std::net::SocketAddr;

use super::lookup::{Looked, Lookup, Waiter};
use super::route::{self, Hop, Ways};
use super::state::{Core, Due};
use super::wire::SendFault;
use crate::clause::rfc3261;
use crate::proxy;
use crate::role::{BranchId, ContextId, NextHop, OwnTag, Side, Within};
use crate::sip::{HeaderName, Method, Request, Response};
use crate::time::{DeadlineId, Instant};
use crate::transaction::{ClientId, TuId};
use crate::transport::target::Target;
use crate::transport::{Flow, Transport};

/// One request on its way to one next hop, with all its retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct AttemptId(pub(super) u64);

/// Whose request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A branch of a response context.
    Branch(ContextId, BranchId),
    /// The role's own.
    Own(OwnTag),
}

/// How a request is to be sent, from the role's action.
#[derive(Clone, Debug)]
pub(super) struct How {
    pub(super) to: NextHop,
    pub(super) within: Option<Within>,
    pub(super) side: Side,
    /// Branches of the same request that are opened right after it.
    pub(super) others: u32,
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) owner: Owner,
    pub(super) invite: bool,
    pub(super) side: Side,
    /// What is left to try.
    pub(super) hops: VecDeque<Hop>,
    /// The request without our Via, as long as another hop may need it.
    pub(super) request: Option<Box<Request>>,
    /// The headers of a response made here, for requests of the role's own.
    pub(super) template: Option<Box<Response>>,
    /// Its present client transaction.
    pub(super) client: Option<ClientId>,
    /// Where the present transaction sends.
    pub(super) flow: Option<Flow>,
    pub(super) hop: Option<Hop>,
    /// TCP was our choice because of the size.
    pub(super) by_size: bool,
    /// The connection was there before.
    pub(super) reused: bool,
    /// A connection that turned out to be dead was replaced once already.
    pub(super) replaced: bool,
    /// A response has come on the present hop.
    pub(super) heard: bool,
    /// It is being cancelled: no other hop is tried.
    pub(super) cancelled: bool,
    /// The DNS is asked where it goes.
    pub(super) looking: bool,
    /// The owner has been told an end; only a 2xx to INVITE is still news.
    pub(super) told: bool,
    pub(super) budget: Option<DeadlineId>,
    /// The budget is for the first response only.
    pub(super) first_only: bool,
    /// What tells loops from spirals, for the branch.
    pub(super) loop_mark: Option<u64>,
}

/// Where one try goes.
struct Way {
    flow: Flow,
    by_size: bool,
    reused: bool,
}

/// A flow that nothing protects.
const fn plain(transport: Transport, local: SocketAddr, remote: SocketAddr) -> Flow {
    Flow { transport, local, remote, conn: None, sa: None }
}

const fn datagram(local: SocketAddr, remote: SocketAddr) -> Way {
    Way { flow: plain(Transport::Udp, local, remote), by_size: false, reused: false }
}

impl Core {
    /// Starts a request of a role or branch on its first hop.
    pub(super) fn launch(
        &mut self,
        now: Instant,
        owner: Owner,
        mut request: Request,
        how: &How,
        loop_mark: Option<u64>,
    ) {
        let id = AttemptId(self.attempts.upcoming());
        let looked = self.prepare(now, &mut request, &how.to);
        let template = match owner {
            Owner::Own(_) => Some(Box::new(request.reply(500))),
            Owner::Branch(..) => None,
        };
        let limit = how.within.map(|within| match within {
            Within::Final(time) | Within::First(time) => now + time,
        });
        let budget = limit.map(|at| self.due.insert(at, Due::Budget(id)));
        let (hops, fault, asking) = match looked {
            Looked::Found(hops) => (hops.into(), None, None),
            Looked::Failed(text) => (VecDeque::new(), Some(text), None),
            Looked::Asking(lookup, question) => (VecDeque::new(), None, Some((lookup, question))),
        };
        let attempt = Attempt {
            owner,
            invite: request.method == Method::Invite,
            side: how.side,
            hops,
            request: Some(Box::new(request)),
            template,
            client: None,
            flow: None,
            hop: None,
            by_size: false,
            reused: false,
            replaced: false,
            heard: false,
            cancelled: false,
            told: false,
            budget,
            looking: asking.is_some(),
            first_only: matches!(how.within, Some(Within::First(_))),
            loop_mark,
        };
        let number = self.attempts.insert(attempt);
        debug_assert_eq!(number, id.0, "no other attempt was made or ended meanwhile");
        match owner {
            Owner::Branch(context, _) => {
                if let Some(context) = self.contexts.get_mut(context.0) {
                    context.live.push(id);
                }
            }
            Owner::Own(tag) => {
                self.own.insert(tag, id);
            }
        }
        if self.own.len() > self.settings.limits.own_requests_max {
            return self.give_up(now, id, "too many requests of our own");
        }
        if let Some(asking) = asking {
            if let Err(why) = self.wait_for_dns(now, asking, Waiter::Attempt(id)) {
                self.give_up(now, id, why);
            }
            return;
        }
        self.next_hop(now, id, fault.as_deref().unwrap_or("no address"));
    }

    /// Repairs the request for a strict router, completes it, and finds its hops.
    fn prepare(&mut self, now: Instant, request: &mut Request, to: &NextHop) -> Looked {
        proxy::ensure_content_length(request);
        let routed = match to {
            NextHop::AsRouted => match proxy::post_process_routes(request) {
                Ok(routed) => routed,
                Err(fault) => {
                    return Looked::Failed(format!("topmost Route is malformed: {fault}"));
                }
            },
            NextHop::Flow(_) | NextHop::Uri(_) => String::new(),
        };
        match route::ways(&self.settings, to, &routed) {
            Ok(Ways::Known(hops)) => Looked::Found(hops),
            Ok(Ways::Look(locating)) => self.look(now, Lookup::new(locating)),
            Err(fault) => Looked::Failed(fault),
        }
    }

    /// The servers of the next hop are known, or why there are none.
    pub(super) fn found(&mut self, now: Instant, id: AttemptId, hops: Vec<Hop>, why: &str) {
        let Some(attempt) = self.attempts.get_mut(id.0) else { return };
        attempt.looking = false;
        attempt.hops = hops.into();
        self.next_hop(now, id, why);
    }

    /// Tries the next hop that can be tried; without one the attempt has failed.
    pub(super) fn next_hop(&mut self, now: Instant, id: AttemptId, why: &str) {
        let mut why = Cow::Borrowed(why);
        while let Some(hop) = self.attempts.get_mut(id.0).and_then(|it| it.hops.pop_front()) {
            match self.try_hop(now, id, hop) {
                Ok(()) => return,
                Err(fault) => why = Cow::Owned(fault.to_string()),
            }
        }
        self.give_up(now, id, &why);
    }

    fn try_hop(&mut self, now: Instant, id: AttemptId, hop: Hop) -> Result<(), SendFault> {
        let attempt = self.attempts.get(id.0).ok_or(SendFault::NoConnection)?;
        let size = attempt.request.as_deref().map(request_size);
        let (side, loop_mark) = (attempt.side, attempt.loop_mark);
        let way = self.way(now, hop, size.ok_or(SendFault::NoConnection)?)?;
        let attempt = self.attempts.get_mut(id.0).ok_or(SendFault::NoConnection)?;
        // A datagram on the only way left is never sent by another.
        let last = attempt.hops.is_empty() && !way.flow.transport.is_reliable();
        let request = if last { attempt.request.take() } else { attempt.request.clone() };
        let mut request = request.ok_or(SendFault::NoConnection)?;
        self.push_via(&mut request, &way.flow, loop_mark);
        let timers = self.timers(side);
        let client = self
            .layer
            .start_client(now, &request, (way.flow, &timers), TuId(id.0), &mut self.outbox)
            .map_err(|_| SendFault::TableFull)?;
        if let Some(attempt) = self.attempts.get_mut(id.0) {
            attempt.client = Some(client);
            attempt.flow = Some(way.flow);
            attempt.hop = Some(hop);
            attempt.by_size = way.by_size;
            attempt.reused = way.reused;
            attempt.heard = false;
        }
        Ok(())
    }

    /// Puts our Via on top, with a branch of its own (RFC 3261 §16.6 step 8).
    fn push_via(&mut self, request: &mut Request, flow: &Flow, loop_mark: Option<u64>) {
        let mut branch = self.ids.branch();
        if let Some(mark) = loop_mark {
            self.loop_guard.mark(&mut branch, mark);
        }
        let local = self.named_by(flow);
        let sent_by = self.addresses.sent_by(flow.transport, &local);
        let asks = self.settings.rport && flow.transport == Transport::Udp && flow.sa.is_none();
        let rport = if asks { ";rport" } else { "" };
        let offers = self.settings.offers_keep && request.method == Method::Register;
        let keep = if offers { ";keep" } else { "" };
        let transport = flow.transport.via_name();
        let pieces = ["SIP/2.0/", transport, " ", &sent_by, ";branch=", &branch, rport, keep];
        request.headers.push_front_pieces(HeaderName::Via, &pieces);
    }

    /// Finds the flow for a hop: UDP or TCP by size (RFC 3261 §18.1.1), the connection there is or
    /// a new one.
    fn way(&mut self, now: Instant, hop: Hop, size: usize) -> Result<Way, SendFault> {
        match hop {
            Hop::UdpOnly { local, remote } => Ok(datagram(local, remote)),
            Hop::Flow(flow) if flow.transport.is_reliable() => {
                if flow.conn.is_some_and(|conn| self.outlet.reaches(conn)) {
                    return Ok(Way { flow, by_size: false, reused: true });
                }
                self.stream(now, self.protected_flow(flow)?, false)
            }
            Hop::Flow(flow) => {
                let flow = self.protected_flow(flow)?;
                // Security associations are shared by UDP and TCP (TS 33.203 §7.1).
                let tcp = flow.sa.is_some() || self.addresses.listens(Transport::Tcp, &flow.local);
                let tcp = tcp.then_some(Flow { transport: Transport::Tcp, ..flow });
                if let Some(way) = self.by_size(now, tcp, size) {
                    return Ok(way);
                }
                Ok(Way { flow, by_size: false, reused: false })
            }
            Hop::Target(Target { transport: Transport::Udp, addr }) => {
                let local = self.local(Transport::Udp, &addr)?;
                let tcp = self.addresses.local_for(Transport::Tcp, &addr);
                let tcp = tcp.map(|it| plain(Transport::Tcp, it.addr, addr));
                if let Some(way) = self.by_size(now, tcp, size) {
                    return Ok(way);
                }
                Ok(datagram(local, addr))
            }
            Hop::Target(Target { transport, addr }) => {
                let local = self.local(transport, &addr)?;
                self.stream(now, plain(transport, local, addr), false)
            }
        }
    }

    fn local(&self, transport: Transport, remote: &SocketAddr) -> Result<SocketAddr, SendFault> {
        self.addresses
            .local_for(transport, remote)
            .map(|listen| listen.addr)
            .ok_or(SendFault::NoAddress)
    }

    /// TCP instead of UDP, if the request is too large for a datagram and nothing speaks against
    /// it.
    fn by_size(&mut self, now: Instant, to: Option<Flow>, size: usize) -> Option<Way> {
        let to = to?;
        let remote = to.remote;
        if !self.settings.path_mtu.too_large(remote, size) || self.tcp_refusals.refused(now, remote)
        {
            return None;
        }
        let way = self.stream(now, to, true).ok()?;
        self.note(now, rfc3261("18.1.1"), || {
            format!("{size} bytes are too much for UDP to {remote}: TCP")
        });
        Some(way)
    }

    fn stream(&mut self, now: Instant, to: Flow, by_size: bool) -> Result<Way, SendFault> {
        let (flow, fresh) = self.connect(now, to)?;
        Ok(Way { flow, by_size, reused: !fresh })
    }

    /// The connection to a peer, opened if there is none; an attempt is guarded by a deadline.
    pub(super) fn connect(&mut self, now: Instant, to: Flow) -> Result<(Flow, bool), SendFault> {
        let (flow, fresh) = self.outlet.connect(now, to)?;
        if fresh && let Some(conn) = flow.conn {
            self.due.insert(now + self.settings.limits.connect_for, Due::Connect(conn));
        }
        Ok((flow, fresh))
    }

    /// Sends an ACK, which has no transaction (RFC 3261 §13.2.2.4, §16.6). If it is lost, the 2xx
    /// comes again and the ACK with it.
    pub(super) fn send_without_transaction(
        &mut self,
        now: Instant,
        mut request: Request,
        to: &NextHop,
    ) {
        match self.prepare(now, &mut request, to) {
            Looked::Found(hops) => self.send_by(now, request, hops),
            Looked::Failed(why) => self.not_sent(now, &request, &why),
            Looked::Asking(lookup, question) => {
                let who = Waiter::Ack(Box::new(request));
                if let Err(why) = self.wait_for_dns(now, (lookup, question), who) {
                    self.note(now, rfc3261("16.6"), || format!("not sent: {why}"));
                }
            }
        }
    }

    pub(super) fn not_sent(&mut self, now: Instant, request: &Request, why: &str) {
        self.outlet.counters.send_failures += 1;
        self.note(now, rfc3261("16.6"), || format!("{} not sent: {why}", request.method));
    }

    /// Sends a request without a transaction by the first of these hops that can be used.
    pub(super) fn send_by(&mut self, now: Instant, mut request: Request, hops: Vec<Hop>) {
        let size = request_size(&request);
        let way = hops.into_iter().find_map(|hop| self.way(now, hop, size).ok());
        let Some(Way { flow, .. }) = way else {
            self.outlet.counters.send_failures += 1;
            return;
        };
        self.push_via(&mut request, &flow, None);
        if let Err(fault) = self.outlet.send(now, &flow, &request.to_bytes()) {
            self.lost(now, &flow, fault);
        }
    }
}

/// How large a request will be with our Via on top (a good guess of the Via is enough here).
fn request_size(request: &Request) -> usize {
    const VIA: usize = 96;
    let start = request.method.as_str().len() + request.request_uri.len() + " SIP/2.0\r\n ".len();
    start + request.headers.wire_len() + "\r\n".len() + request.body.len() + VIA
}
