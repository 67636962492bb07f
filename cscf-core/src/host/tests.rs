//! The host with nodes that speak no protocol: what arrives, what leaves, what is bounded.

mod secured;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::*;
use crate::transport::{ConnId, Flow, Packet, Transport};

const WITHIN: Duration = Duration::from_secs(10);

/// Sends everything back, and remembers what happened.
#[derive(Debug, Default)]
struct Echo {
    happened: Vec<String>,
    outputs: VecDeque<Output>,
    wake_at: Option<Instant>,
    /// Answers each portion of a connection with so many bytes instead.
    flood: usize,
    /// Sends nothing back.
    quiet: bool,
}

impl Node for Echo {
    fn name(&self) -> &str {
        "echo"
    }

    fn handle_input(&mut self, now: Instant, input: Input) {
        let said = match input {
            Input::Bytes { conn, bytes, .. } => {
                let said = format!("bytes {}", String::from_utf8_lossy(&bytes));
                let flood = Bytes::from(vec![b'x'; self.flood]);
                let bytes = if self.flood > 0 { flood } else { bytes };
                if !self.quiet {
                    self.outputs.push_back(Output::Write { conn, bytes });
                }
                said
            }
            Input::Closed { cause, .. } => format!("closed: {cause}"),
            Input::Datagram(mut packet) => {
                let said = format!("datagram {}", String::from_utf8_lossy(&packet.bytes));
                packet.received_at = Instant::EPOCH;
                self.outputs.push_back(Output::Datagram(packet));
                said
            }
            Input::Dropped { reason, .. } => format!("dropped: {reason}"),
            Input::Opened(flow) => format!("opened {}", flow.remote),
            Input::Timeout if self.wake_at.is_some_and(|at| at <= now) => {
                self.wake_at = None;
                "timeout".to_owned()
            }
            Input::Timeout => return,
            Input::Unreachable { remote, cause, .. } => format!("unreachable {remote}: {cause}"),
            Input::Answer(..)
            | Input::Demand(..)
            | Input::NotSecured { .. }
            | Input::Policy(_)
            | Input::Shard(_) => return,
        };
        self.happened.push(said);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.wake_at
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("runtime").block_on(future)
}

fn sink() -> (Sink, Rc<RefCell<Vec<TraceEvent>>>) {
    let events = Rc::<RefCell<Vec<TraceEvent>>>::default();
    let to = Rc::clone(&events);
    (Rc::new(move |event| to.borrow_mut().push(event)), events)
}

fn host() -> Host {
    Host::new(Clock::start(), sink().0)
}

/// Starts a node at a port of its own.
fn start(host: &Host, ip: &str) -> (Handle<Echo>, SocketAddr) {
    let any = format!("{ip}:0").parse().expect("address");
    let sockets = host.open("echo", &Addresses::both(any)).expect("binds");
    let addr = sockets.address().expect("bound");
    (host.start(Echo::default(), sockets), addr)
}

/// Waits until something with these words has happened to the node.
async fn wait_for(handle: &Handle<Echo>, words: &'static str) -> Vec<String> {
    let seen = async {
        loop {
            let happened = handle.ask(|node, _| node.happened.clone()).await.expect("runs");
            if happened.iter().any(|said| said.contains(words)) {
                return happened;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(WITHIN, seen).await.unwrap_or_else(|_| panic!("{words} never happened"))
}

fn datagram(local: SocketAddr, remote: SocketAddr) -> Output {
    let flow = Flow { transport: Transport::Udp, local, remote, conn: None, sa: None };
    let bytes = Bytes::from_static(b"hop");
    Output::Datagram(Packet { flow, bytes, received_at: Instant::EPOCH })
}

#[test]
fn datagrams_and_streams_reach_the_node_and_its_answers_leave() {
    block_on(async {
        let host = host();
        let (_echo, addr) = start(&host, "127.92.0.1");
        host.run_until(async {
            let mut buffer = [0; 16];
            let socket = UdpSocket::bind("127.92.0.1:0").await.expect("binds");
            socket.send_to(b"one", addr).await.expect("sends");
            let got = timeout(WITHIN, socket.recv_from(&mut buffer)).await;
            assert_eq!(got.expect("in time").expect("arrives"), (3, addr));

            let mut stream = TcpStream::connect(addr).await.expect("connects");
            stream.write_all(b"two").await.expect("writes");
            let got = timeout(WITHIN, stream.read(&mut buffer)).await;
            assert_eq!(got.expect("in time").expect("reads"), 3);
            assert_eq!(&buffer[..3], b"two");
        })
        .await;
    });
}

#[test]
fn a_deadline_is_told_when_it_comes_and_orders_may_set_one() {
    block_on(async {
        let host = host();
        let (echo, _) = start(&host, "127.92.0.2");
        host.run_until(async {
            echo.call(|node, now| node.wake_at = Some(now + Duration::from_millis(20)));
            wait_for(&echo, "timeout").await;
        })
        .await;
    });
}

#[test]
fn a_datagram_to_nobody_comes_back_as_unreachable() {
    block_on(async {
        let host = host();
        let (echo, addr) = start(&host, "127.92.0.3");
        let nobody: SocketAddr = "127.92.0.3:9".parse().expect("address");
        host.run_until(async {
            echo.call(move |node, _| node.outputs.push_back(datagram(addr, nobody)));
            let happened = wait_for(&echo, "unreachable").await;
            assert_eq!(happened, [format!("unreachable {nobody}: port unreachable (ICMP)")]);
        })
        .await;
    });
}

#[test]
fn a_peer_that_does_not_read_is_cut_off_at_the_bound() {
    block_on(async {
        let host = host();
        let (echo, addr) = start(&host, "127.92.0.4");
        echo.call(|node, _| node.flood = 200 * 1024);
        host.run_until(async {
            let mut stream = TcpStream::connect(addr).await.expect("connects");
            let flooding = async {
                // Never reads: socket buffers fill, then the queue, then the connection ends.
                while stream.write_all(b"more").await.is_ok() {
                    tokio::task::yield_now().await;
                }
            };
            timeout(WITHIN, flooding).await.expect("is cut off");
            let happened = wait_for(&echo, "closed: the peer does not read").await;
            assert!(happened.contains(&"dropped: the peer does not read".to_owned()));
        })
        .await;
    });
}

#[test]
fn more_connections_than_the_limit_are_closed_at_once() {
    block_on(async {
        let host = host().with_limits(Limits { connections_per_peer_max: 1, ..Limits::default() });
        let (echo, addr) = start(&host, "127.92.0.5");
        host.run_until(async {
            let _first = TcpStream::connect(addr).await.expect("connects");
            wait_for(&echo, "opened").await;
            let mut second = TcpStream::connect(addr).await.expect("connects");
            let mut byte = [0; 1];
            let end = timeout(WITHIN, second.read(&mut byte)).await.expect("in time");
            assert!(!matches!(end, Ok(1..)), "{end:?}");
        })
        .await;
    });
}

#[test]
fn a_refused_connection_is_closed_with_its_cause() {
    block_on(async {
        let host = host();
        let (echo, local) = start(&host, "127.92.0.6");
        let (transport, conn) = (Transport::Tcp, ConnId::opened(1));
        let remote = "127.92.0.6:9".parse().expect("address");
        host.run_until(async {
            let connect = Output::Connect { conn, transport, local, remote, sa: None };
            echo.call(move |node, _| node.outputs.push_back(connect));
            assert_eq!(wait_for(&echo, "closed").await, ["closed: refused"]);
        })
        .await;
    });
}

/// What one node of two says to the other over a datagram and a connection.
async fn two_nodes(host: &Host, ip: &str) -> Vec<String> {
    let (one, local) = start(host, ip);
    let (other, remote) = start(host, ip);
    let (transport, conn) = (Transport::Tcp, ConnId::opened(1));
    let happened = host.run_until(async {
        one.call(move |node, _| {
            node.outputs.push_back(datagram(local, remote));
            node.outputs.push_back(Output::Connect { conn, transport, local, remote, sa: None });
        });
        wait_for(&one, "opened").await;
        one.call(move |node, _| {
            // Once only: each echoes what the other says.
            node.outputs.push_back(Output::Write { conn, bytes: Bytes::from_static(b"hello") });
        });
        wait_for(&one, "bytes hello").await;
        one.call(move |node, _| node.outputs.push_back(Output::Close(conn)));
        wait_for(&other, "closed").await
    });
    happened
        .await
        .into_iter()
        .filter(|said| !said.starts_with("datagram") && !said.starts_with("bytes"))
        .map(|said| said.replace(&local.to_string(), "ONE"))
        .collect()
}

#[test]
fn hops_in_memory_and_through_the_kernel_look_the_same() {
    block_on(async {
        let expected = ["opened ONE", "closed: closed by the peer"];
        for (host, ip) in [(host(), "127.92.0.7"), (host().with_hops_in_memory(), "127.92.0.8")] {
            assert_eq!(two_nodes(&host, ip).await, expected, "{ip}");
        }
    });
}

#[test]
fn a_node_that_fails_is_named() {
    block_on(async {
        let host = host();
        let (echo, _) = start(&host, "127.92.0.9");
        host.run_until(async {
            echo.call(|_, _| panic!("a fault of ours"));
            let ended = timeout(WITHIN, host.ended()).await.expect("in time");
            assert_eq!(ended.name, "echo");
        })
        .await;
    });
}

#[test]
fn stopping_writes_what_waits() {
    block_on(async {
        let host = host();
        let (echo, addr) = start(&host, "127.92.0.10");
        let mut stream = host
            .run_until(async {
                let stream = TcpStream::connect(addr).await.expect("connects");
                wait_for(&echo, "opened").await;
                stream
            })
            .await;
        echo.call(|node, _| {
            let conn = ConnId::accepted(1);
            node.outputs.push_back(Output::Write { conn, bytes: Bytes::from_static(b"bye") });
        });
        timeout(WITHIN, host.stop()).await.expect("in time");
        let mut said = String::new();
        stream.read_to_string(&mut said).await.expect("reads");
        assert_eq!(said, "bye");
    });
}

#[test]
fn a_thread_does_not_rest_while_its_tasks_have_work() {
    /// More than a set of tasks takes up between two looks at the sockets.
    const TASKS: usize = 1_000;
    let (left, rests) = (Arc::new(AtomicUsize::new(TASKS)), Arc::new(AtomicUsize::new(0)));
    let (seen, early) = (Arc::clone(&left), Arc::clone(&rests));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(move || {
            early.fetch_add(usize::from(seen.load(Ordering::Acquire) > 0), Ordering::AcqRel);
        })
        .build()
        .expect("runtime");
    let local = LocalSet::new();
    for _ in 0..TASKS {
        let left = Arc::clone(&left);
        local.spawn_local(async move {
            tokio::task::yield_now().await;
            left.fetch_sub(1, Ordering::AcqRel);
        });
    }

    runtime.block_on(local);

    assert_eq!((left.load(Ordering::Acquire), rests.load(Ordering::Acquire)), (0, 0));
}

#[test]
fn datagrams_that_wait_together_are_all_answered_in_order() {
    block_on(async {
        let host = host();
        let (echo, addr) = start(&host, "127.92.0.17");
        let socket = UdpSocket::bind("127.92.0.17:0").await.expect("binds");
        // The node has not begun to look at its sockets.
        let numbers: Vec<String> = (0..200).map(|number| number.to_string()).collect();
        for number in &numbers {
            socket.send_to(number.as_bytes(), addr).await.expect("sends");
        }
        host.run_until(async {
            for number in &numbers {
                let mut buffer = [0; 16];
                let got = timeout(WITHIN, socket.recv_from(&mut buffer)).await;
                let (count, from) = got.expect("in time").expect("arrives");
                assert_eq!((&buffer[..count], from), (number.as_bytes(), addr));
            }
            let happened = wait_for(&echo, "datagram 199").await;
            let expected: Vec<String> = numbers.iter().map(|it| format!("datagram {it}")).collect();
            assert_eq!(happened, expected);
        })
        .await;
    });
}
