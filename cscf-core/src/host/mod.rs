//! The only impure floor: sockets, the clock, the trace pipe.
//!
//! A [`Host`] runs any number of nodes in one thread. It moves bytes and keeps time, and knows
//! nothing of SIP or Diameter: framing, retransmission and every decision are the node's. It obeys
//! the drain rule of [`crate::engine`]: after each input outputs until there are none, then the
//! deadline once.

mod alone;
mod bind;
mod clock;
mod conn;
pub mod control;
mod datagrams;
mod greeting;
pub mod json;
pub mod log;
mod memory;
pub mod orders;
mod output;
mod pace;
pub mod pipe;
mod process;
pub mod program;
pub mod protected;
mod quiet;
mod resolver;
mod secure;
mod signal;
mod state;
mod task;
#[cfg(test)]
mod tests;
mod udp;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

pub use bind::{Addresses, BindError, Sockets};
pub use clock::Clock;
pub use process::{file_limits, prepare_process};
pub use secure::{Tls, TlsFault};
pub use signal::{stdin_lines, stop_signal};
pub use state::StateFile;

use crate::config::Gather;
use crate::engine::{Input, Node, Output};
use crate::hss::{Provisioning, StateFault};
use crate::operator::{Order, OrderResult};
use crate::time::{Duration, Instant};
use crate::trace::TraceEvent;
use crate::transport::Packet;
use resolver::Resolver;
use task::NodeTask;

/// Where trace events go. It is called between two inputs of a node and must not block.
pub type Sink = Rc<dyn Fn(TraceEvent)>;

/// What a node may take from the machine. A peer can use up its share but not grow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections of one node, both directions; more are closed as soon as they are accepted.
    pub connections_max: usize,
    /// Accepted connections of one peer IP address at one node.
    pub connections_per_peer_max: usize,
    /// Accepted connections of one node that have not come through their handshake (TLS,
    /// WebSocket); more are closed as soon as they are accepted.
    pub handshakes_max: usize,
    /// The same of one peer IP address.
    pub handshakes_per_peer_max: usize,
    /// How long a handshake may take, both directions.
    pub handshake_for: Duration,
    /// How long a record of TLS or a message of a WebSocket may take until it is whole.
    pub whole_within: Duration,
    /// Bytes that wait for a peer to read them; then its connection is closed.
    pub write_queue_bytes_max: usize,
    /// Datagrams that wait for the socket to take them; more are lost, as in any full buffer.
    pub datagrams_waiting_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 20_000,
            connections_per_peer_max: 10_000,
            handshakes_max: 1_000,
            handshakes_per_peer_max: 200,
            handshake_for: Duration::from_secs(10),
            whole_within: Duration::from_secs(32),
            write_queue_bytes_max: 256 * 1024,
            datagrams_waiting_max: 1_000,
        }
    }
}

/// How a node ended without having been asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEnded {
    /// Its name.
    pub name: String,
}

type Call<N> = Box<dyn FnOnce(&mut N, Instant) + Send>;

/// What is said to a running node from outside.
enum Command<N> {
    Call(Call<N>),
    Protection(oneshot::Sender<protected::Protected>),
    Stop,
}

/// The way to a running node. It may be cloned and used from any thread.
pub struct Handle<N> {
    commands: mpsc::UnboundedSender<Command<N>>,
}

impl<N> Clone for Handle<N> {
    fn clone(&self) -> Self {
        Self { commands: self.commands.clone() }
    }
}

impl<N> std::fmt::Debug for Handle<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl<N> Handle<N> {
    /// Runs `call` on the node between two inputs; what the node then wants is done. Returns
    /// whether the node still runs.
    pub fn call(&self, call: impl FnOnce(&mut N, Instant) + Send + 'static) -> bool {
        self.commands.send(Command::Call(Box::new(call))).is_ok()
    }

    /// Asks the node something between two inputs; `None` if it no longer runs.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut N, Instant) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.call(move |node, now| {
            let _ = answer.send(question(node, now));
        });
        answered.await.ok()
    }

    /// What the node has of security associations; `None` if it no longer runs.
    pub async fn protected(&self) -> Option<protected::Protected> {
        let (asked, answered) = oneshot::channel();
        self.commands.send(Command::Protection(asked)).ok()?;
        answered.await.ok()
    }

    /// Ends the node: it takes leave of its peers and what is queued is written, for 300 ms at
    /// most, then its sockets close.
    pub fn stop(&self) {
        let _ = self.commands.send(Command::Stop);
    }
}

/// Nodes on real sockets, in one thread.
///
/// It must be made and used inside a tokio runtime; its nodes run while a future is awaited by
/// [`Host::run_until`], and end when the host is dropped.
pub struct Host {
    local: LocalSet,
    clock: Clock,
    limits: Limits,
    sink: Sink,
    switch: Option<memory::Switch>,
    resolver: Option<Rc<Resolver>>,
    tls: Option<Rc<Tls>>,
    ended: mpsc::UnboundedSender<NodeEnded>,
    endings: RefCell<mpsc::UnboundedReceiver<NodeEnded>>,
    stops: RefCell<Vec<Box<dyn Fn()>>>,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("clock", &self.clock).finish_non_exhaustive()
    }
}

impl Host {
    /// A host without nodes, whose nodes tell their trace to `sink`.
    #[must_use]
    pub fn new(clock: Clock, sink: Sink) -> Self {
        let (ended, endings) = mpsc::unbounded_channel();
        Self {
            local: LocalSet::new(),
            clock,
            limits: Limits::default(),
            sink,
            switch: None,
            resolver: None,
            tls: None,
            ended,
            endings: RefCell::new(endings),
            stops: RefCell::new(Vec::new()),
        }
    }

    /// Lets nodes of this host that are added later reach each other in memory instead of through
    /// the kernel: the same bytes, the same trace.
    #[must_use]
    pub fn with_hops_in_memory(mut self) -> Self {
        self.switch = Some(memory::Switch::default());
        self
    }

    /// Lets nodes that are added later ask these DNS servers; none: nobody answers.
    #[must_use]
    pub fn with_dns(mut self, servers: &[SocketAddr]) -> Self {
        let some = !servers.is_empty();
        self.resolver = some.then(|| Rc::new(Resolver::new(servers, self.clock)));
        self
    }

    /// Lets nodes that are added later listen with this certificate, and trust these CAs.
    #[must_use]
    pub fn with_tls(mut self, tls: Option<Tls>) -> Self {
        self.tls = tls.map(Rc::new);
        self
    }

    /// Lets this thread follow its load: above a rate it takes its turns as a batch process does,
    /// and it gathers what comes.
    #[must_use]
    pub fn with_pace(self, gather: Gather) -> Self {
        pace::start(self.clock, gather);
        self
    }

    /// Other limits for nodes added later.
    #[must_use]
    pub const fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The clock of all nodes.
    #[must_use]
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Binds the addresses and starts the node on them. When this returns, peers can send.
    ///
    /// # Errors
    ///
    /// [`BindError`] names the node, the address and what to do.
    pub fn add<N: Node + 'static>(
        &self,
        node: N,
        addresses: &Addresses,
    ) -> Result<Handle<N>, BindError> {
        let sockets = self.open(node.name(), addresses)?;
        Ok(self.start(node, sockets))
    }

    /// As [`Host::add`], for a node whose state outlives it in a file, if there is one.
    ///
    /// # Errors
    ///
    /// As [`Host::add`].
    pub fn add_keeping<N: Node + 'static>(
        &self,
        node: N,
        addresses: &Addresses,
        file: Option<StateFile>,
    ) -> Result<Handle<N>, BindError> {
        let sockets = self.open(node.name(), addresses)?;
        Ok(self.run(node, sockets, file))
    }

    /// Binds addresses for a node that is made afterwards: port 0 lets the system choose, and the
    /// node must know what it chose.
    ///
    /// # Errors
    ///
    /// As [`Host::add`].
    pub fn open(&self, name: &str, addresses: &Addresses) -> Result<Sockets, BindError> {
        bind::bind(name, addresses)
    }

    /// Starts a node on open sockets.
    pub fn start<N: Node + 'static>(&self, node: N, sockets: Sockets) -> Handle<N> {
        self.run(node, sockets, None)
    }

    fn run<N: Node + 'static>(
        &self,
        node: N,
        sockets: Sockets,
        file: Option<StateFile>,
    ) -> Handle<N> {
        let (commands, orders) = mpsc::unbounded_channel();
        let handle = Handle { commands };
        let to_stop = handle.clone();
        self.stops.borrow_mut().push(Box::new(move || to_stop.stop()));
        let task = NodeTask::new(
            node,
            sockets,
            orders,
            task::Surroundings {
                clock: self.clock,
                limits: self.limits,
                sink: Rc::clone(&self.sink),
                switch: self.switch.clone(),
                resolver: self.resolver.clone(),
                tls: self.tls.clone(),
                ended: self.ended.clone(),
            },
        );
        self.local.spawn_local(task.keeping(file).run());
        handle
    }

    /// Runs the nodes until `future` is done.
    pub async fn run_until<F: Future>(&self, future: F) -> F::Output {
        self.local.run_until(future).await
    }

    /// Waits until a node ends that was not asked to; use inside [`Host::run_until`].
    pub async fn ended(&self) -> NodeEnded {
        std::future::poll_fn(|context| self.endings.borrow_mut().poll_recv(context))
            .await
            .unwrap_or_else(|| NodeEnded { name: String::new() })
    }

    /// Stops all nodes: what is queued is written, for at most half a second.
    pub async fn stop(self) {
        for stop in self.stops.borrow().iter() {
            stop();
        }
        let _ = tokio::time::timeout(Duration::from_millis(500), self.local).await;
    }
}

impl<N: Node + ?Sized> Node for Box<N> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn handle_input(&mut self, now: Instant, input: Input) {
        (**self).handle_input(now, input);
    }

    fn handle_datagrams(&mut self, now: Instant, packets: &mut Vec<Packet>) {
        (**self).handle_datagrams(now, packets);
    }

    fn poll_output(&mut self) -> Option<Output> {
        (**self).poll_output()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        (**self).poll_timeout()
    }

    fn shut_down(&mut self, now: Instant) {
        (**self).shut_down(now);
    }

    fn is_unkept(&self) -> bool {
        (**self).is_unkept()
    }

    fn kept(&mut self) -> String {
        (**self).kept()
    }

    fn restore(&mut self, now: Instant, kept: &str) -> Result<(), StateFault> {
        (**self).restore(now, kept)
    }

    fn order(&mut self, now: Instant, order: &Order) -> OrderResult {
        (**self).order(now, order)
    }

    fn provision(&mut self, now: Instant, what: Provisioning) -> OrderResult {
        (**self).provision(now, what)
    }
}
