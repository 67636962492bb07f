//! An S-CSCF with too much to do, or being emptied (TS 24.229 §4.12): new work gets 503 with
//! Retry-After. Who has a registration, who leaves, who is in an emergency and what is in a dialog
//! goes on.

use cscf_core::auth::{Credentials, IntegrityProtected};
use cscf_core::clause::ts24229;
use cscf_core::role::{Env, Incoming, RequestKind};
use cscf_core::sip::{Contacts, HeaderName, Method, Request};
use cscf_core::trace::Diagnosis;

use crate::refusal::Refusal;
use crate::{Scscf, ScscfActions};

impl Scscf {
    /// Refuses new work while the operator says that there is too much of it; says whether it did.
    pub(crate) fn refuses_by_load(
        &self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        out: &mut ScscfActions,
    ) -> bool {
        let request = &incoming.request;
        let refusal = self.work.refusal().filter(|_| is_new_work(incoming));
        let Some((why, retry_after)) = refusal else { return false };
        let (state, order) = (why.as_str(), why.order());
        let cause = Diagnosis::new("", "the load of this S-CSCF")
            .theirs(format!("a new {}", request.method))
            .ours(format!("{state}, Retry-After {retry_after} s"))
            .change(format!("nothing at the phone: it comes again; or end the order `{order}`"));
        Refusal::by(503, ts24229("4.12"), format!("this S-CSCF is {state}"))
            .because(cause)
            .with(HeaderName::RetryAfter, retry_after.to_string())
            .send(env, incoming.context, request, out);
        true
    }
}

fn is_new_work(incoming: &Incoming) -> bool {
    let request = &incoming.request;
    if incoming.kind != RequestKind::Initial {
        return false;
    }
    if request.method != Method::Register {
        return !request.asks_emergency_service();
    }
    let flag = credentials(request).as_ref().and_then(Credentials::integrity_protected);
    let contacts = request.contacts().ok();
    let list = contacts.as_ref().map_or(&[][..], Contacts::list);
    let emergency = list.iter().any(|contact| contact.uri.params().has("sos"));
    let of_one = list.first().and_then(|contact| contact.expires());
    let leaves = of_one.or_else(|| request.expires()) == Some(0);
    matches!(flag, None | Some(IntegrityProtected::No)) && !emergency && !leaves
}

fn credentials(request: &Request) -> Option<Credentials> {
    request.headers.get(HeaderName::Authorization)?.parse().ok()
}
