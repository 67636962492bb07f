//! The ends of early dialogs that a caller wants to hear of (RFC 6228): a contact that rang and
//! refuses, while others are still tried.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cscf_core::clause::rfc6228;
use cscf_core::role::{Action, BranchId, ContextId, Env};
use cscf_core::sip::{HeaderName, Method, Request, Response, reason_phrase};

use crate::sessions::Sessions;
use crate::{ScscfActions, charging};

/// Early dialogs of one INVITE that are remembered; of more the caller hears with the final
/// response.
const DIALOGS_MAX: usize = 64;

/// The early dialogs of an INVITE whose caller understands 199.
#[derive(Debug)]
pub(crate) struct EarlyDialogs {
    /// The headers of a response to the INVITE.
    template: Response,
    /// The To tags, by branch.
    tags: BTreeMap<BranchId, BTreeSet<Box<str>>>,
}

impl EarlyDialogs {
    /// None where no 199 may be sent: the caller does not list it, or wants each provisional
    /// response reliable, which a proxy cannot give (RFC 6228 §6).
    pub(crate) fn of(invite: &Request) -> Option<Self> {
        let headers = &invite.headers;
        let wanted = invite.method == Method::Invite
            && headers.has_token(HeaderName::Supported, "199")
            && !headers.has_token(HeaderName::Require, "100rel");
        wanted.then(|| {
            let mut template = invite.reply(199);
            template.headers.detach();
            Self { template, tags: BTreeMap::new() }
        })
    }

    /// Takes note of a provisional response.
    pub(crate) fn provisional(&mut self, branch: BranchId, response: &Response) {
        let Some(tag) = response.to_tag() else { return };
        if response.status == 199 {
            // The caller hears of its end from whoever sent this.
            if let Some(tags) = self.tags.get_mut(&branch) {
                tags.remove(tag);
            }
        } else if self.tags.values().map(BTreeSet::len).sum::<usize>() < DIALOGS_MAX {
            self.tags.entry(branch).or_default().insert(tag.into());
        }
    }

    /// The 199s for a branch that ended with this status, one for each early dialog: To tag its
    /// own, the reason, no body (RFC 6228 §6).
    pub(crate) fn ended(&mut self, branch: BranchId, status: u16) -> Vec<Response> {
        let tags = self.tags.remove(&branch).unwrap_or_default();
        let reason = format!("SIP;cause={status};text=\"{}\"", reason_phrase(status));
        let made = tags.iter().map(|tag| {
            let mut response = self.template.clone();
            response.set_to_tag(tag);
            response.headers.push(HeaderName::Reason, &reason);
            response
        });
        made.collect()
    }
}

impl Sessions {
    /// Looks at what a contact answered: the early dialogs of one that failed are over, which the
    /// caller hears while others are still tried (RFC 6228 §6).
    pub(crate) fn early_dialogs(
        &mut self,
        env: &mut Env<'_>,
        (context, branch): (ContextId, BranchId),
        response: &Response,
        out: &mut ScscfActions,
    ) {
        let Some(call) = self.calls.get_mut(&context) else { return };
        let Some(early) = &mut call.early else { return };
        let status = response.status;
        if status < 200 {
            return early.provisional(branch, response);
        }
        if !(300..600).contains(&status) || call.cancelled {
            // The final response is on its way.
            call.early = None;
            return;
        }
        let ended = early.ended(branch, status);
        let (open, case, vector) = (call.open, call.case, Arc::clone(&call.vector));
        if open == 0 {
            return;
        }
        let ours = self.own_ioi(case, &vector);
        for mut response in ended {
            env.note(rfc6228("6"), || {
                format!("199: an early dialog ended with {status}, {open} contact(s) are pending")
            });
            charging::set_response(&mut response.headers, Some(&vector), &ours);
            out.push(Action::Reply { context, response: Box::new(response) });
        }
    }
}
