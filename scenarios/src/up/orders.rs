//! The way of an order to the nodes of a running lab: by the standard input of a node process, or
//! by a call to a node of this process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use cscf_core::config::Lab;
use cscf_core::host::control::{Answering, Nodes, all};
use cscf_core::host::orders::{Obedient, order_line};
use cscf_core::operator::{Order, OrderError, OrderResult};
use cscf_core::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::process::ChildStdin;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::operate;

/// How long a node may take to answer an order.
const ANSWER_FOR: Duration = Duration::from_secs(5);

/// The standard input of a node process; closing it asks the node to end.
pub(super) type Stdin = Arc<tokio::sync::Mutex<Option<ChildStdin>>>;
/// Whether a node process was told to log: then its lines are shown.
pub(super) type Logs = Arc<AtomicBool>;

/// Orders that wait for their answers, by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting(Arc<Mutex<BTreeMap<u64, oneshot::Sender<OrderResult>>>>);

impl Waiting {
    /// Hands an answer to whoever waits for it.
    pub(super) fn answered(&self, number: u64, answer: OrderResult) {
        let sender = self.0.lock().ok().and_then(|mut waiting| waiting.remove(&number));
        if let Some(sender) = sender {
            let _ = sender.send(answer);
        }
    }

    fn expect(&self, number: u64) -> oneshot::Receiver<OrderResult> {
        let (sender, answer) = oneshot::channel();
        if let Ok(mut waiting) = self.0.lock() {
            waiting.insert(number, sender);
        }
        answer
    }

    fn forget(&self, number: u64) {
        if let Ok(mut waiting) = self.0.lock() {
            waiting.remove(&number);
        }
    }
}

/// How one node is reached.
#[derive(Clone, Debug)]
enum Way {
    Here(Obedient),
    Process(Stdin, Logs),
}

/// The nodes of a running lab, to be given orders.
#[derive(Clone, Debug, Default)]
pub struct Orders {
    nodes: Vec<(String, Way)>,
    waiting: Waiting,
    count: Arc<AtomicU64>,
}

impl Orders {
    /// Nodes of this process.
    #[must_use]
    pub fn here(nodes: Vec<(String, Obedient)>) -> Self {
        let nodes = nodes.into_iter().map(|(name, handle)| (name, Way::Here(handle))).collect();
        Self { nodes, ..Self::default() }
    }

    pub(super) fn processes(
        nodes: impl Iterator<Item = (String, Stdin, Logs)>,
        waiting: Waiting,
        count: Arc<AtomicU64>,
    ) -> Self {
        let nodes = nodes.map(|(name, stdin, logs)| (name, Way::Process(stdin, logs))).collect();
        Self { nodes, waiting, count }
    }

    /// Gives an order to every node that may have a part in it; names must be resolved already.
    pub async fn give_all(&self, lab: &Lab, order: &Order) -> Vec<(String, OrderResult)> {
        let targets = operate::targets(lab, order);
        let answers = targets.iter().map(|name| Nodes::give(self, name, order)).collect();
        let answers = all(answers).await;
        targets.into_iter().zip(answers).collect()
    }

    /// Gives an order to one node.
    ///
    /// # Errors
    ///
    /// The node's, or that it does not answer.
    pub async fn give(&self, name: &str, order: &Order) -> OrderResult {
        let Some((_, way)) = self.nodes.iter().find(|(known, _)| known == name) else {
            return Err(OrderError::refused("it does not run"));
        };
        let asked = async {
            match way {
                Way::Here(node) => node.obey(order).await,
                Way::Process(stdin, logs) => {
                    if matches!(order, Order::Log { filter: Some(_), .. }) {
                        logs.store(true, Ordering::Relaxed);
                    }
                    self.by_pipe(stdin, order).await
                }
            }
        };
        timeout(ANSWER_FOR, asked).await.unwrap_or_else(|_| {
            let text = format!("it does not answer within {} s", ANSWER_FOR.as_secs());
            Err(OrderError::Refused(text))
        })
    }

    async fn by_pipe(&self, stdin: &Stdin, order: &Order) -> OrderResult {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let answer = self.waiting.expect(number);
        // Whoever stops waiting for the answer leaves nothing behind.
        let _forget = Forget(&self.waiting, number);
        let written = match &mut *stdin.lock().await {
            Some(stdin) => {
                let line = order_line(number, order) + "\n";
                stdin.write_all(line.as_bytes()).await.is_ok()
            }
            None => false,
        };
        if !written {
            return Err(OrderError::refused("it has ended"));
        }
        answer.await.unwrap_or_else(|_| Err(OrderError::refused("it has ended")))
    }
}

impl Nodes for Orders {
    fn give<'a>(&'a self, node: &'a str, order: &'a Order) -> Answering<'a> {
        Box::pin(Self::give(self, node, order))
    }
}

struct Forget<'a>(&'a Waiting, u64);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.forget(self.1);
    }
}
