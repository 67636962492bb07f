//! Answers that an operator has a node give instead of its own, so that a peer can be seen with a
//! status that no element would send by itself, e.g. 408 for REGISTER (RFC 4320 §4.2).

use super::state::Core;
use crate::clause::own;
use crate::sip::{Method, Request};
use crate::time::Instant;
use crate::transport::Flow;

/// Which requests get which answer.
#[derive(Clone, Debug)]
pub(super) struct Injected {
    status: u16,
    /// Only these; none means all but ACK and CANCEL.
    method: Option<String>,
    /// How many still; none means until told otherwise.
    left: Option<u32>,
    /// The branch that was answered last: each copy of that request gets the same.
    last: String,
}

impl Injected {
    pub(super) fn new(
        status: Option<u16>,
        method: Option<&str>,
        left: Option<u32>,
    ) -> Option<Self> {
        let status = status.filter(|_| left != Some(0))?;
        Some(Self { status, method: method.map(str::to_owned), left, last: String::new() })
    }

    fn fits(&self, method: &Method) -> bool {
        let hop_by_hop = matches!(method, Method::Ack | Method::Cancel);
        self.method.as_deref().map_or(!hop_by_hop, |only| only == method.as_str())
    }
}

impl Core {
    /// Gives the answer that was ordered for such a request, without a transaction: those keep to
    /// the rules. Says whether it did.
    pub(super) fn gives_injected(&mut self, now: Instant, flow: &Flow, request: &Request) -> bool {
        let Some(injected) = self.injected.as_mut().filter(|it| it.fits(&request.method)) else {
            return false;
        };
        let status = injected.status;
        let branch = request.top_branch().unwrap_or_default();
        if injected.last != branch {
            match &mut injected.left {
                Some(0) => return false,
                Some(left) => *left -= 1,
                None => {}
            }
            injected.last = branch.to_owned();
        }
        self.refuse(now, own("injected"), || {
            format!("{} gets {status}: the operator ordered it", request.method)
        });
        self.send_stateless(now, flow, request, request.reply(status));
        true
    }
}
