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
}

impl Injected {
    pub(super) fn new(
        status: Option<u16>,
        method: Option<&str>,
        left: Option<u32>,
    ) -> Option<Self> {
        let status = status.filter(|_| left != Some(0))?;
        Some(Self { status, method: method.map(str::to_owned), left })
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
        if let Some(left) = &mut injected.left {
            *left -= 1;
        }
        if injected.left == Some(0) {
            self.injected = None;
        }
        self.refuse(now, own("injected"), || {
            format!("{} gets {status}: the operator ordered it", request.method)
        });
        self.send_stateless(now, flow, request, request.reply(status));
        true
    }
}
