//! Requests to a `sips` URI (RFC 5630 §5.3): each hop would have to be by TLS. Behind this node the
//! core speaks UDP and TCP, so such a request goes no further.

use cscf_core::clause::rfc5630;
use cscf_core::role::{Action, Actions, Env, Incoming};
use cscf_core::sip::{HeaderName, is_sips, sips_not_allowed};

use crate::{Pcscf, Timer};

impl Pcscf {
    /// Refuses a request whose Request-URI is a `sips` URI: 480 with warning 380. Says whether it
    /// does.
    pub(crate) fn refuses_sips(
        &self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        out: &mut Actions<Timer>,
    ) -> bool {
        let request = &incoming.request;
        if !is_sips(&request.request_uri) {
            return false;
        }
        env.refuse(rfc5630("5.3"), || {
            let (method, uri) = (&request.method, &request.request_uri);
            format!("{method} to {uri} gets 480: the next hop is not by TLS")
        });
        let mut response = request.reply(480);
        response.headers.push(HeaderName::Warning, &sips_not_allowed(self.config.host()));
        out.push(Action::Reply { context: incoming.context, response: Box::new(response) });
        true
    }
}
